/// What `--help` prints. The generated formats are described here, because tests read them back.
enum Help {
  static let usage = """
    usage: board-emulator --framing F --baud N (--file F | --generate COUNT) [option…]
    """

  /// The names behind `--framing`.
  static let framings = """
    line, json-lines, nmea, slip, cobs, hdlc, stx-etx, modbus-rtu, modbus-ascii, vesc, xiaomi, \
    ninebot, daly, jbd, ubx, rtcm3, mavlink or length
    """

  static let text =
    usage + """


      A serial board on a pseudo-terminal. It prints the terminal's path, waits until somebody opens
      it, plays its bytes at the real rate (10 bits each) while it is open, waits until everything has
      been read, and exits.

        --framing F          line, json-lines, nmea, slip, cobs, hdlc, stx-etx, modbus-rtu,
                             modbus-ascii, vesc, xiaomi, ninebot, daly, jbd, ubx, rtcm3, mavlink
                             or length
        --baud N             bits per second, 1 to 4000000
        --file F             plays the file's bytes as they are, once; faults fall between its frames
        --generate COUNT     plays COUNT frames with running numbers; 0 for no end
        --rate N             at most N frames per second, decimals allowed (default: back to back)
        --link PATH          keeps a symbolic link on the terminal, over hang-ups; prints PATH
        --noise P            probability that 1 to 32 bytes of noise come before a frame
        --gap P              probability that a frame pauses for 16 ms inside
        --cut P              probability that a frame is cut short
        --hang-up-every S    every S seconds, when all is read, the terminal goes away for 0.2 to 1 s
        --hold               stays after the last frame, until SIGTERM or SIGINT
        --seed N             makes another sequence of frames and faults (default 1)
        --help, --version    prints this, or the version

      What is generated, by framing; N is the running number, from 1, and depends on nothing but the
      seed:
        line   {"n":N,"mv":INTEGER,"mA":INTEGER,"pad":"x…"} and LF
        nmea   by turns $GNTXT,01,01,02,n=N; $GPGGA and $GPRMC whose time hhmmss.cc is N hundredths of a
               second after midnight; each with its checksum and CR LF
        json-lines  as line
        vesc   a payload of 04, N as 4 bytes, big-endian, and 0 to 395 more bytes
        stx-etx     02, the text `n=N,x…`, 03, BCC
        slip, cobs  N as 4 bytes, big-endian, 0 to 69 more bytes, and their CRC-16/XMODEM; a delimiter
                    before and behind
        hdlc        N as 4 bytes and 0 to 69 more bytes; a flag before and behind
        modbus-rtu, modbus-ascii
                    address 01, function 03, the count of bytes, N as 4 bytes, 0 to 69 more bytes
        xiaomi      address 23, command 01, argument B0; data: N as 4 bytes, 0 to 69 more bytes
        ninebot     from 23 to 3E, command 04, argument B0; data as above
        daly        from 01, command 90; data: N as 4 bytes, 4 more bytes
        jbd         register 03, status 00; data as above
        ubx         class 0A, id 04; payload as above
        rtcm3       message 4072 (12 bits), 4 zero bits, and data as above
        mavlink     HEARTBEAT whose custom_mode is N; by turns version 1, 2, and 2 with a signature
        length      A5 5A, the payload's length in 2 bytes, payload as above, CRC-16/CCITT-FALSE of
                    length and payload, 0D; the high byte first

      Noise never spoils a frame: for line and json-lines it is NUL and LF, for nmea anything but $ and
      !, for slip and cobs a frame of its own that is none, for modbus-rtu a burst of its own, for most
      others anything. A cut frame loses its end; for line, json-lines, slip and cobs it keeps its
      delimiter, so that it arrives short. Frames of modbus-rtu are at least 10 ms apart.

      At the end it prints to the standard error `sent N frames, cut C, noise bytes B, hang-ups H`, and
      `cut: N…` with the numbers of the frames that were cut short.

      exit codes: 0; 64 wrong use; 70 the system refused something
      """
}
