// Serial lines: termios2, because it is the only way to any baud rate.
#define _GNU_SOURCE 1
#define _FILE_OFFSET_BITS 64
#include "CLinux.h"
// <asm/termbits.h> has termios2 and BOTHER; it cannot stand beside the C library's <termios.h>.
#include <asm/ioctls.h>
#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/serial.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

extern int ioctl(int descriptor, unsigned long request, ...);

int spoke_serial_open(const char *path) {
  int descriptor;
  do descriptor = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  while (descriptor < 0 && errno == EINTR);
  return descriptor < 0 ? -errno : descriptor;
}

int spoke_serial_lock(int descriptor) {
  return flock(descriptor, LOCK_EX | LOCK_NB) == 0 ? 0 : -errno;
}

int spoke_serial_exclude(int descriptor) {
  return ioctl(descriptor, TIOCEXCL) == 0 ? 0 : -errno;
}

static tcflag_t size_flag(uint8_t bits) {
  switch (bits) {
  case 5: return CS5;
  case 6: return CS6;
  case 7: return CS7;
  default: return CS8;
  }
}

// The rates that the older calls know by a code.
static const struct {
  uint32_t baud;
  tcflag_t code;
} rates[] = {
    {1200, B1200},       {2400, B2400},       {4800, B4800},       {9600, B9600},
    {19200, B19200},     {38400, B38400},     {57600, B57600},     {115200, B115200},
    {230400, B230400},   {460800, B460800},   {500000, B500000},   {576000, B576000},
    {921600, B921600},   {1000000, B1000000}, {1152000, B1152000}, {1500000, B1500000},
    {2000000, B2000000}, {2500000, B2500000}, {3000000, B3000000}, {4000000, B4000000}};

// TCGETS2, or TCGETS where there is no such call: user-mode emulators have only the older one.
static int get_settings(int descriptor, struct termios2 *settings) {
  if (ioctl(descriptor, TCGETS2, settings) == 0) return 0;
  if (errno != ENOSYS) return -errno;
  struct termios old;
  if (ioctl(descriptor, TCGETS, &old) != 0) return -errno;
  memset(settings, 0, sizeof *settings);
  settings->c_iflag = old.c_iflag;
  settings->c_oflag = old.c_oflag;
  settings->c_cflag = old.c_cflag;
  settings->c_lflag = old.c_lflag;
  settings->c_line = old.c_line;
  memcpy(settings->c_cc, old.c_cc, sizeof old.c_cc);
  for (unsigned i = 0; i < sizeof rates / sizeof *rates; i++)
    if ((old.c_cflag & CBAUD) == rates[i].code)
      settings->c_ispeed = settings->c_ospeed = rates[i].baud;
  return 0;
}

static int set_settings(int descriptor, const struct termios2 *settings) {
  if (ioctl(descriptor, TCSETS2, settings) == 0) return 0;
  if (errno != ENOSYS) return -errno;
  struct termios old;
  memset(&old, 0, sizeof old);
  old.c_iflag = settings->c_iflag;
  old.c_oflag = settings->c_oflag;
  old.c_cflag = settings->c_cflag & ~(tcflag_t)(CBAUD | CIBAUD);
  old.c_lflag = settings->c_lflag;
  old.c_line = settings->c_line;
  memcpy(old.c_cc, settings->c_cc, sizeof old.c_cc);
  for (unsigned i = 0; i < sizeof rates / sizeof *rates; i++) {
    if (rates[i].baud != settings->c_ospeed) continue;
    old.c_cflag |= rates[i].code;
    return ioctl(descriptor, TCSETS, &old) == 0 ? 0 : -errno;
  }
  return -ENOSYS;
}

int spoke_serial_configure(int descriptor, const struct spoke_line *line) {
  struct termios2 settings;
  int answer = get_settings(descriptor, &settings);
  if (answer != 0) return answer;
  // Raw: a port that is not eats 0x03, 0x11 and 0x13, maps CR and echoes at the board.
  settings.c_iflag = line->flow == 2 ? IXON | IXOFF : 0;
  settings.c_oflag = 0;
  settings.c_lflag = 0;
  // CLOCAL: no carrier is waited for. No HUPCL: a drop of DTR resets many boards.
  settings.c_cflag = CREAD | CLOCAL | size_flag(line->data_bits) | BOTHER | (BOTHER << IBSHIFT);
  if (line->stop_bits == 2) settings.c_cflag |= CSTOPB;
  if (line->parity != 0) settings.c_cflag |= PARENB;
  // Errors and breaks are marked in the data, without parity too: a byte with a framing error would
  // pass for a good one. INPCK lets the driver report them, PARMRK makes FF 00 x of them.
  settings.c_iflag |= INPCK | PARMRK;
  if (line->parity == 2 || line->parity == 3) settings.c_cflag |= PARODD;
  if (line->parity >= 3) settings.c_cflag |= CMSPAR;
  if (line->flow == 1) settings.c_cflag |= CRTSCTS;
  // With O_NONBLOCK, VMIN 1 makes 0 bytes mean a hang-up and EAGAIN an idle line.
  settings.c_cc[VMIN] = 1;
  settings.c_cc[VTIME] = 0;
  settings.c_cc[VSTART] = 0x11;
  settings.c_cc[VSTOP] = 0x13;
  settings.c_ispeed = line->baud;
  settings.c_ospeed = line->baud;
  return set_settings(descriptor, &settings);
}

int spoke_serial_state(int descriptor, struct spoke_line_state *state) {
  struct termios2 settings;
  int answer = get_settings(descriptor, &settings);
  if (answer != 0) return answer;
  memset(state, 0, sizeof *state);
  tcflag_t control = settings.c_cflag, input = settings.c_iflag;
  state->line.baud = settings.c_ispeed;
  state->output_baud = settings.c_ospeed;
  switch (control & CSIZE) {
  case CS5: state->line.data_bits = 5; break;
  case CS6: state->line.data_bits = 6; break;
  case CS7: state->line.data_bits = 7; break;
  default: state->line.data_bits = 8;
  }
  int odd = (control & PARODD) != 0;
  if (control & PARENB) state->line.parity = control & CMSPAR ? (odd ? 3 : 4) : (odd ? 2 : 1);
  state->line.stop_bits = control & CSTOPB ? 2 : 1;
  state->line.flow = control & CRTSCTS ? 1 : (input & (IXON | IXOFF) ? 2 : 0);
  tcflag_t cooked = IGNBRK | IGNPAR | BRKINT | ISTRIP | INLCR | IGNCR | ICRNL | IUCLC;
  state->raw = (input & cooked) == 0 && (settings.c_oflag & OPOST) == 0 &&
               (settings.c_lflag & (ECHO | ECHONL | ICANON | ISIG | IEXTEN)) == 0;
  state->marks_errors = (input & PARMRK) != 0;
  state->checks_parity = (input & INPCK) != 0;
  state->hang_up_on_close = (control & HUPCL) != 0;
  return 0;
}

int spoke_serial_flush(int descriptor) {
  return ioctl(descriptor, TCFLSH, TCIOFLUSH) == 0 ? 0 : -errno;
}

int spoke_device_major(int descriptor) {
  struct stat status;
  if (fstat(descriptor, &status) != 0) return -errno;
  return S_ISCHR(status.st_mode) ? (int)major(status.st_rdev) : -ENOTTY;
}

int spoke_serial_rs485(int descriptor, struct spoke_rs485 *rs485) {
  struct serial_rs485 settings;
  memset(&settings, 0, sizeof settings);
  settings.flags = rs485->flags;
  settings.delay_rts_before_send = rs485->delay_before_send;
  settings.delay_rts_after_send = rs485->delay_after_send;
  if (ioctl(descriptor, TIOCSRS485, &settings) != 0) return -errno;
  if (ioctl(descriptor, TIOCGRS485, &settings) != 0) return -errno;
  rs485->flags = settings.flags;
  rs485->delay_before_send = settings.delay_rts_before_send;
  rs485->delay_after_send = settings.delay_rts_after_send;
  return 0;
}

int spoke_serial_errors(int descriptor, struct spoke_line_errors *errors) {
  struct serial_icounter_struct counts;
  memset(&counts, 0, sizeof counts);
  if (ioctl(descriptor, TIOCGICOUNT, &counts) != 0) return -errno;
  errors->frame = (uint32_t)counts.frame;
  errors->overrun = (uint32_t)counts.overrun;
  errors->parity = (uint32_t)counts.parity;
  errors->brk = (uint32_t)counts.brk;
  errors->buf_overrun = (uint32_t)counts.buf_overrun;
  return 0;
}

int spoke_serial_low_latency(int descriptor) {
  struct serial_struct settings;
  memset(&settings, 0, sizeof settings);
  if (ioctl(descriptor, TIOCGSERIAL, &settings) != 0) return -errno;
  settings.flags |= ASYNC_LOW_LATENCY;
  if (ioctl(descriptor, TIOCSSERIAL, &settings) != 0) return -errno;
  if (ioctl(descriptor, TIOCGSERIAL, &settings) != 0) return -errno;
  return settings.flags & ASYNC_LOW_LATENCY ? 0 : -EOPNOTSUPP;
}

int spoke_device_minor(int descriptor) {
  struct stat status;
  if (fstat(descriptor, &status) != 0) return -errno;
  return S_ISCHR(status.st_mode) ? (int)minor(status.st_rdev) : -ENOTTY;
}
