#ifndef SPOKE_CMOSQUITTO_SHIM_H
#define SPOKE_CMOSQUITTO_SHIM_H
#include <mosquitto.h>
#endif
