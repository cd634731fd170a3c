#ifndef SPOKE_CLINUX_SERIAL_H
#define SPOKE_CLINUX_SERIAL_H
#include <stdint.h>

// What a serial line is set to, without the numbers of termios.
struct spoke_line {
  uint32_t baud;
  uint8_t data_bits;   // 5 to 8
  uint8_t parity;      // 0 none, 1 even, 2 odd, 3 mark, 4 space
  uint8_t stop_bits;   // 1 or 2
  uint8_t flow;        // 0 none, 1 RTS/CTS, 2 XON/XOFF
};

// What the driver answers after it was set.
struct spoke_line_state {
  struct spoke_line line;
  uint32_t output_baud;
  int raw;             // no translation, echo, signals or line editing is left on
  int marks_errors;    // PARMRK
  int checks_parity;   // INPCK
  int hang_up_on_close;
};

// struct serial_rs485; flags are SER_RS485_…, delays in milliseconds.
struct spoke_rs485 {
  uint32_t flags, delay_before_send, delay_after_send;
};

// The receiver's part of struct serial_icounter_struct, since the driver was loaded.
struct spoke_line_errors {
  uint32_t frame, overrun, parity, brk, buf_overrun;
};

// Opens without becoming the controlling terminal and without waiting for a carrier.
int spoke_serial_open(const char *path);
// flock: 0, or -EWOULDBLOCK when another process has it. Binds those who ask, root too.
int spoke_serial_lock(int descriptor);
// TIOCEXCL: later opens fail with EBUSY, except root's.
int spoke_serial_exclude(int descriptor);
int spoke_serial_configure(int descriptor, const struct spoke_line *line);
int spoke_serial_state(int descriptor, struct spoke_line_state *state);
int spoke_serial_flush(int descriptor);
// TIOCSRS485; then `rs485` is what the driver made of it.
int spoke_serial_rs485(int descriptor, struct spoke_rs485 *rs485);
// TIOCGICOUNT.
int spoke_serial_errors(int descriptor, struct spoke_line_errors *errors);
// ASYNC_LOW_LATENCY by TIOCSSERIAL; -EOPNOTSUPP when it does not stay set.
int spoke_serial_low_latency(int descriptor);
// The numbers of a character device, or -ENOTTY for anything else.
int spoke_device_major(int descriptor);
int spoke_device_minor(int descriptor);
#endif
