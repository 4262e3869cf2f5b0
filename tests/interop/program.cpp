// SPDX-License-Identifier: Apache-2.0
//
// Both public headers in one C++ program.
#include <shm-manager/layout.h>
#include <shmclient.h>

#include <cstdio>
#include <vector>

int main(int argc, char **argv) {
    shmc_options options{};
    options.size = sizeof options;
    options.timeout_ms = 5000;
    shmc *segment = nullptr;
    shmc_section *section = nullptr;
    if (argc != 2 || shmc_attach(&segment, &options) < 0 ||
        shmc_open(&section, segment, argv[1], nullptr) < 0)
        return 1;
    std::vector<char> value(65536);
    const ssize_t length = shmc_read(section, value.data(), value.size(), nullptr);
    shmc_segment_info info{};
    const bool right = shmc_segment(segment, &info) == 0 && info.abi == SHM_ABI;
    if (length > 0)
        std::fwrite(value.data(), 1, static_cast<std::size_t>(length), stdout);
    shmc_close(section);
    shmc_detach(segment);
    return right && length >= 0 ? 0 : 1;
}
