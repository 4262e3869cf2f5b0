// SPDX-License-Identifier: Apache-2.0
/// <reference types="node" />

/** The segment's identifier, or 0. */
export function openSHM(key: number, flags: 'a' | 'c' | 'w' | 'n', mode?: number, size?: number): number;
export function sizeSHM(shmid: number): number;
/** Bytes written. */
export function writeSHM(shmid: number, data: Uint8Array, offset?: number, data_len?: number): number;
export function readSHM(shmid: number, start: number, length: number): Buffer | Error;
/** 1, or 0 when it failed. */
export function deleteSHM(shmid: number): 0 | 1;
export function closeSHM(shmid: number): 0 | 1;
/** What went wrong last. */
export function getErrMsg(): string;
