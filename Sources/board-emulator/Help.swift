/// What `--help` prints. The generated formats are described here, because tests read them back.
enum Help {
  static let usage = """
    usage: board-emulator --framing line|nmea|vesc --baud N (--file F | --generate COUNT) [option…]
    """

  static let text =
    usage + """


      A serial board on a pseudo-terminal. It prints the terminal's path, waits until somebody opens
      it, plays its bytes at the real rate (10 bits each) while it is open, waits until everything has
      been read, and exits.

        --framing F          line, nmea or vesc
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
        vesc   a payload of 04, N as 4 bytes, big-endian, and 0 to 395 more bytes

      Noise never spoils a frame: for line it is NUL and LF, for nmea anything but $ and !, for vesc
      anything. A cut frame loses its end; for line it keeps its LF, so that it arrives short.

      At the end it prints to the standard error `sent N frames, cut C, noise bytes B, hang-ups H`, and
      `cut: N…` with the numbers of the frames that were cut short.

      exit codes: 0; 64 wrong use; 70 the system refused something
      """
}
