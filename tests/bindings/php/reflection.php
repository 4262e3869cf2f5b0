<?php
// SPDX-License-Identifier: Apache-2.0
//
// Prints what there is below Shm\, of the extension, or of the stub file that is named.
declare(strict_types=1);

if (isset($argv[1])) {
    require $argv[1];
}

function signature(ReflectionFunctionAbstract $function): string
{
    $parameters = array_map(fn($one) => "{$one->getType()} \${$one->getName()}"
        . ($one->isDefaultValueAvailable() ? ' = ' . json_encode($one->getDefaultValue()) : ''),
        $function->getParameters());
    return "{$function->getName()}(" . implode(', ', $parameters) . "): {$function->getReturnType()}";
}

$classes = array_filter(get_declared_classes(), fn($name) => str_starts_with($name, 'Shm\\'));
sort($classes);
foreach ($classes as $name) {
    $class = new ReflectionClass($name);
    $parent = $class->getParentClass();
    echo implode(' ', Reflection::getModifierNames($class->getModifiers())), " $name ",
        $parent ? $parent->getName() : '', "\n";
    $own = fn($of) => $of->getDeclaringClass()->getName() === $name;
    foreach (array_filter($class->getReflectionConstants(), $own) as $constant) {
        echo "  {$constant->getName()} = ", json_encode($constant->getValue()), "\n";
    }
    foreach (array_filter($class->getProperties(), $own) as $property) {
        echo '  ', implode(' ', Reflection::getModifierNames($property->getModifiers())),
            " {$property->getType()} \${$property->getName()}\n";
    }
    foreach (array_filter($class->getMethods(), $own) as $method) {
        echo '  ', implode(' ', Reflection::getModifierNames($method->getModifiers())), ' ',
            signature($method), "\n";
    }
}
foreach (array_merge(...array_values(get_defined_functions())) as $name) {
    if (str_starts_with($name, 'shm\\')) {
        echo signature(new ReflectionFunction($name)), "\n";
    }
}
