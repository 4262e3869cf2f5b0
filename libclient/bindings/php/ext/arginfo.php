<?php
// SPDX-License-Identifier: Apache-2.0
//
// Makes the extension's declarations in C of its stub file, by reflection; run by `make`:
//
//     php -n arginfo.php shmclient.stub.php >shmclient_arginfo.h
declare(strict_types=1);

const SCALARS = ['int' => ['IS_LONG', 'MAY_BE_LONG'], 'string' => ['IS_STRING', 'MAY_BE_STRING'],
    'bool' => ['_IS_BOOL', 'MAY_BE_BOOL'], 'array' => ['IS_ARRAY', 'MAY_BE_ARRAY'],
    'void' => ['IS_VOID', 'MAY_BE_VOID'], 'null' => ['IS_NULL', 'MAY_BE_NULL']];

/** As tokens of C, where a macro makes a string of them, or within one. */
function escaped(string $name): string
{
    return str_replace('\\', '\\\\', $name);
}

function symbol(string $name): string
{
    return str_replace('\\', '_', $name);
}

function mask(ReflectionType $type): string
{
    $types = $type instanceof ReflectionUnionType ? $type->getTypes() : [$type];
    $bits = array_map(fn($one) => SCALARS[$one->getName()][1], $types);
    if (!$type instanceof ReflectionUnionType && $type->allowsNull()) {
        $bits[] = 'MAY_BE_NULL';
    }
    return implode(' | ', $bits);
}

function returning(string $name, ReflectionFunctionAbstract $function): string
{
    $required = $function->getNumberOfRequiredParameters();
    $type = $function->getReturnType();
    $null = (int)($type?->allowsNull() ?? 0);
    return match (true) {
        $type === null => "ZEND_BEGIN_ARG_INFO_EX($name, 0, 0, $required)",
        $type instanceof ReflectionUnionType =>
            "ZEND_BEGIN_ARG_WITH_RETURN_TYPE_MASK_EX($name, 0, $required, " . mask($type) . ')',
        $type->isBuiltin() => "ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX($name, 0, $required, "
            . SCALARS[$type->getName()][0] . ", $null)",
        default => "ZEND_BEGIN_ARG_WITH_RETURN_OBJ_INFO_EX($name, 0, $required, "
            . escaped($type->getName()) . ", $null)",
    };
}

function arginfo(string $name, ReflectionFunctionAbstract $function): void
{
    echo returning($name, $function), "\n";
    foreach ($function->getParameters() as $parameter) {
        $type = $parameter->getType();
        $head = "(0, {$parameter->getName()}, " . SCALARS[$type->getName()][0] . ', '
            . (int)$type->allowsNull();
        if (!$parameter->isDefaultValueAvailable()) {
            echo "ZEND_ARG_TYPE_INFO$head)\n";
            continue;
        }
        $value = json_encode($parameter->getDefaultValue());
        echo "ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE$head, \"", addslashes($value), "\")\n";
    }
    echo "ZEND_END_ARG_INFO()\n";
}

/** @return ReflectionMethod[] that the class has of its own */
function methods(ReflectionClass $class): array
{
    return array_filter($class->getMethods(),
        fn($method) => $method->getDeclaringClass()->getName() === $class->getName());
}

function declareMethods(ReflectionClass $class): void
{
    $name = symbol($class->getName());
    $entries = '';
    foreach (methods($class) as $method) {
        $symbol = "arginfo_{$name}_{$method->getName()}";
        arginfo($symbol, $method);
        echo "PHP_METHOD($name, {$method->getName()})", $method->isConstructor() ? " {}\n" : ";\n";
        $flags = ($method->isPrivate() ? 'ZEND_ACC_PRIVATE' : 'ZEND_ACC_PUBLIC')
            . ($method->isStatic() ? ' | ZEND_ACC_STATIC' : '');
        $entries .= "    PHP_ME($name, {$method->getName()}, $symbol, $flags)\n";
    }
    echo "static const zend_function_entry {$name}_methods[] = {\n{$entries}    PHP_FE_END\n};\n";
}

function declareProperty(ReflectionProperty $property): void
{
    $type = $property->getType();
    echo "    ZVAL_UNDEF(&none);\n    name = zend_string_init_interned(\"{$property->getName()}\", ",
        strlen($property->getName()), ", 1);\n    zend_declare_typed_property(ce, name, &none, "
        . "ZEND_ACC_PUBLIC | ZEND_ACC_READONLY, NULL, ";
    if ($type->isBuiltin()) {
        echo '(zend_type)ZEND_TYPE_INIT_MASK(', mask($type), "));\n";
    } else {
        $class = $type->getName();
        echo '(zend_type)ZEND_TYPE_INIT_CLASS(zend_string_init_interned("', escaped($class), '", ',
            strlen($class), ', 1), ', (int)$type->allowsNull(), ", 0));\n";
    }
}

function register(ReflectionClass $class): void
{
    $name = symbol($class->getName());
    $parent = $class->getParentClass();
    declareMethods($class);
    echo "zend_class_entry *{$name}_ce;\nstatic void register_$name(void) {\n    zend_class_entry entry, *ce;\n",
        "    zend_string *name;\n    zval none;\n    (void)name, (void)none;\n",
        "    INIT_CLASS_ENTRY(entry, \"", escaped($class->getName()), "\", {$name}_methods);\n",
        '    ce = zend_register_internal_class_ex(&entry, ', match (true) {
            $parent === false => 'NULL',
            $parent->isInternal() => 'spl_ce_' . $parent->getName(),
            default => symbol($parent->getName()) . '_ce',
        }, ");\n";
    $flags = array_keys(array_filter([
        'ZEND_ACC_FINAL' => $class->isFinal(),
        'ZEND_ACC_ABSTRACT' => $class->isAbstract(),
        'ZEND_ACC_NO_DYNAMIC_PROPERTIES' => !$class->isSubclassOf(Throwable::class),
        'ZEND_ACC_NOT_SERIALIZABLE' => str_contains((string)$class->getDocComment(), '@not-serializable'),
    ]));
    echo $flags === [] ? '' : '    ce->ce_flags |= ' . implode(' | ', $flags) . ";\n";
    foreach ($class->getReflectionConstants() as $constant) {
        echo "    zend_declare_class_constant_long(ce, \"{$constant->getName()}\", ",
            strlen($constant->getName()), ", {$constant->getName()});\n";
    }
    foreach ($class->getProperties() as $property) {
        if ($property->getDeclaringClass()->getName() === $class->getName()) {
            declareProperty($property);
        }
    }
    echo "    {$name}_ce = ce;\n}\n\n";
}

require $argv[1];

echo "/* Made of shmclient.stub.php by arginfo.php. */\n\n";
$classes = array_filter(array_map(fn($name) => new ReflectionClass($name),
    array_filter(get_declared_classes(), fn($name) => str_starts_with($name, 'Shm\\'))));
array_map(register(...), $classes);
echo "static void register_classes(void) {\n";
foreach ($classes as $class) {
    echo '    register_', symbol($class->getName()), "();\n";
}
echo "}\n\n";
$entries = '';
foreach (get_defined_functions()['user'] as $name) {
    $function = new ReflectionFunction($name);
    if ($function->getNamespaceName() === 'Shm') {
        $symbol = symbol($function->getName());
        arginfo("arginfo_$symbol", $function);
        echo "ZEND_FUNCTION($symbol);\n";
        $entries .= "    ZEND_NS_FALIAS(\"Shm\", {$function->getShortName()}, $symbol, arginfo_$symbol)\n";
    }
}
echo "static const zend_function_entry functions[] = {\n{$entries}    PHP_FE_END\n};\n";
