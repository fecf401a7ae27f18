package bridge

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"

	"github.com/gorilla/websocket"
)

// The subprotocols a tunnel may speak, the better first: that of the standard [MQTT-6.0.0-4] and the one clients used before it.
var tunnelProtocols = []string{"mqtt", "mqttv3.1"}

const (
	defaultMaxMessage = 1 << 20

	tunnelReadBytes = 512 // gorilla's buffer of a tunnel; larger reads pass it by
)

// TunnelConfig sets what a tunnel may carry and who it takes its clients for. Zero fields take the defaults.
type TunnelConfig struct {
	MaxMessage int64 // bytes of one WebSocket message, whatever its frames; default 1 MiB

	// ClientAddr says where a request comes from, when proxies relay it; nil: the peer's address.
	ClientAddr func(*http.Request) netip.Addr
}

// Tunnel carries MQTT inside WebSockets (MQTT 5.0 §6): it upgrades requests and hands each connection on as a net.Conn whose bytes are those
// of the binary messages. What is in them is the business of who takes it; authentication too, so that nothing but the Origin is judged
// here, by the same policy as for viewers.
type Tunnel struct {
	hub      *Hub
	cfg      TunnelConfig
	accept   func(net.Conn)
	origins  origins
	upgrader websocket.Upgrader
	farewell sync.WaitGroup // closing handshakes
}

// Tunnel returns the handler of MQTT over WebSocket. accept owns the connections it is given and must not block; Close of such a
// connection never blocks either, and a Write that waits for the peer ends with it.
func (h *Hub) Tunnel(cfg TunnelConfig, accept func(net.Conn)) *Tunnel {
	if cfg.MaxMessage <= 0 {
		cfg.MaxMessage = defaultMaxMessage
	}
	return &Tunnel{
		hub:     h,
		cfg:     cfg,
		accept:  accept,
		origins: newOrigins(h.cfg.AllowedOrigins),
		upgrader: websocket.Upgrader{
			HandshakeTimeout: upgradeTimeout,
			ReadBufferSize:   tunnelReadBytes,
			WriteBufferSize:  writeBufferBytes,
			WriteBufferPool:  &sync.Pool{},
			CheckOrigin:      func(*http.Request) bool { return true }, // examine has
			Error:            func(http.ResponseWriter, *http.Request, int, error) {},
		},
	}
}

// ServeHTTP refuses or upgrades, and returns.
func (t *Tunnel) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	protocol, why := t.examine(r)
	if why != nil {
		t.hub.refuse(w, why)
		return
	}
	hijacked := &hijacker{ResponseWriter: w}
	ws, err := t.upgrader.Upgrade(hijacked, r, http.Header{"Sec-Websocket-Protocol": {protocol}})
	if err != nil {
		if hijacked.reader == nil {
			t.hub.refuse(w, refusedInternal)
		}
		t.hub.log.Debug("upgrade failed", "err", err)
		return
	}
	hijacked.reader.sealed = true
	ws.SetReadLimit(t.cfg.MaxMessage)
	t.hub.counters.tunnels.Add(1)
	t.accept(newCarrier(t, ws, hijacked.reader.Conn, t.clientOf(r, hijacked.reader.Conn)))
}

// examine returns the subprotocol to speak.
func (t *Tunnel) examine(r *http.Request) (protocol string, why *refusal) {
	if why := upgradable(r); why != nil {
		return "", why
	}
	if !t.origins.allowClient(r) {
		return "", refusedOrigin
	}
	offered := websocket.Subprotocols(r)
	for _, p := range tunnelProtocols {
		if slices.Contains(offered, p) {
			return p, nil
		}
	}
	return "", refusedSubprotocol // [MQTT-6.0.0-3]
}

// clientOf is the address the connection is known by. Behind a proxy the client's port is not known.
func (t *Tunnel) clientOf(r *http.Request, peer net.Conn) net.Addr {
	if t.cfg.ClientAddr == nil {
		return peer.RemoteAddr()
	}
	client := t.cfg.ClientAddr(r)
	if tcp, ok := peer.RemoteAddr().(*net.TCPAddr); ok && tcp.AddrPort().Addr().Unmap().WithZone("") == client || !client.IsValid() {
		return peer.RemoteAddr()
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(client, 0))
}

// Close waits for the closing handshakes of connections closed before, each bounded by Config.CloseTimeout, at most until ctx ends. The
// connections themselves belong to who accepted them and are closed there first.
func (t *Tunnel) Close(ctx context.Context) error {
	gone := make(chan struct{})
	go func() { // ends with the last handshake
		t.farewell.Wait()
		close(gone)
	}()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close tunnels: %w", ctx.Err())
	}
}
