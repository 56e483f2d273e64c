package egress

import (
	"io"
	"net/netip"
)

// ServerName is serverName over a reader.
func ServerName(r io.Reader) (string, error) { return serverName(&peeker{src: r}) }

// RequestHost is requestHost over a reader.
func RequestHost(r io.Reader, port int) (string, error) { return requestHost(&peeker{src: r}, port) }

// Reach lets tests reach addresses of their own machine.
func (n *Names) Reach(f func(netip.Addr) bool) { n.reachable = f }

// Race is race.
var Race = race

// InTurn is inTurn.
var InTurn = inTurn
