package engine

import (
	"context"
	"net/http"
	"net/netip"
)

// connection is what the requests of one connection share, worked out once.
type connection struct {
	listener string
	peer     netip.Addr // the address that connected
	text     string     // the same as recorded
}

// connectionKey is the key of a connection in its context.
type connectionKey struct{}

// WithConnection tells the requests of a connection which listener accepted it and from where: remote is
// an address and a port.
func WithConnection(ctx context.Context, listener, remote string) context.Context {
	return context.WithValue(ctx, connectionKey{}, newConnection(listener, remote))
}

// connectionOf returns the connection of a request; one that came through no listener has an address only.
func connectionOf(hr *http.Request) *connection {
	if c, ok := hr.Context().Value(connectionKey{}).(*connection); ok {
		return c
	}
	return newConnection("", hr.RemoteAddr)
}

func newConnection(listener, remote string) *connection {
	peer := peerOf(remote)
	return &connection{listener: listener, peer: peer, text: peer.String()}
}

// peerOf parses the address of a connection; what cannot be parsed is the zero address.
func peerOf(remote string) netip.Addr {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}
