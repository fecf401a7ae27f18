package main

import (
	"net"
	"syscall"
)

// awaitFirstBytes has the kernel hand a connection over when its peer has said something, or after a second or so all the same. In MQTT
// and TLS the client speaks first, so a storm of logins comes with its CONNECTs: each is worked off in one go, instead of ten thousand
// connections that are looked at, found silent and woken one by one, in the same queue as everybody's messages. A kernel that does not
// know how costs nothing but that.
func awaitFirstBytes(l net.Listener) {
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return
	}
	if raw, err := tcp.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_DEFER_ACCEPT, 1)
		})
	}
}
