//go:build !linux

package main

import "net"

// awaitFirstBytes is known to Linux only.
func awaitFirstBytes(net.Listener) {}
