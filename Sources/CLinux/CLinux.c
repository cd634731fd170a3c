// The shims are inline; this file exists because a C target needs one source.
#include "CLinux.h"
