#ifndef SPOKE_CLINUX_H
#define SPOKE_CLINUX_H
// The system calls that the platform layer makes, as plain functions with explicit widths: Swift
// imports neither C variadics nor macros, and on a 32-bit board `off_t` and `time_t` must be asked
// for in 64 bits by a feature macro that only our own C files may set (a header that sets one would
// look different from every module that includes it).
//
// Every function that can fail answers a negative errno and retries EINTR itself.
#include "CLinuxFiles.h"
#include "CLinuxProcess.h"
#include "CLinuxPseudoTerminal.h"
#include "CLinuxSerial.h"
#include "CLinuxSockets.h"
#include "unix_client.h"
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#endif
