# SPDX-License-Identifier: Apache-2.0
Gem::Specification.new do |spec|
    spec.name = "shmclient"
    spec.version = "0.1.0"
    spec.summary = "Share state through the segment of a shm-manager"
    spec.description = "Sections, slots and queues in shared memory, over libshmclient; and SysVMQ, " \
                       "the class of the sysvmq gem, over System V queues and over sections."
    spec.authors = ["The authors of shm-manager"]
    spec.license = "Apache-2.0"
    spec.required_ruby_version = ">= 3.0"
    spec.files = Dir.chdir(__dir__) { Dir["lib/**/*.rb", "ext/**/*.{c,h,rb}", "README.md"] }
    spec.extensions = ["ext/shmclient/extconf.rb"]
    spec.require_paths = ["lib"]
end
