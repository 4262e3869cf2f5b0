<?php
// SPDX-License-Identifier: Apache-2.0
//
// What went wrong with a segment: getCode() is an errno of Linux, and $name its name, as they are
// of the extension's Shm\Exception.
declare(strict_types=1);

namespace Shm\Shmop;

final class SegmentException extends \RuntimeException
{
    public const EPERM = 1;
    public const ENOENT = 2;
    public const EAGAIN = 11;
    public const EACCES = 13;
    public const EIDRM = 43;
    public const ENODATA = 61;
    public const EBADMSG = 74;
    public const EPROTOTYPE = 91;
    public const EPROTONOSUPPORT = 93;

    public readonly string $name;

    public function __construct(int $errno, string $message)
    {
        parent::__construct($message, $errno);
        $this->name = array_flip((new \ReflectionClass($this))->getConstants())[$errno];
    }
}
