import CLinux
import CMosquitto
import COpenSSL
