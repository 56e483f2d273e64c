package egress

import (
	"io"
)

// ServerName is serverName over a reader.
func ServerName(r io.Reader) (string, error) { return serverName(&peeker{src: r}) }

// RequestHost is requestHost of the first head of a reader.
func RequestHost(r io.Reader, port int) (string, error) {
	head, err := firstHead(&peeker{src: r})
	if err != nil {
		return "", err
	}
	return requestHost(head, port)
}

// Race is race.
var Race = race

// InTurn is inTurn.
var InTurn = inTurn

// At is where a race was won.
func At(r *reached) string { return r.at.String() }

// Forget makes n ask again.
func (n *Names) Forget() { n.mu.Lock(); clear(n.kept); n.mu.Unlock() }
