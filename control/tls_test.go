package control_test

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/palisade-security/palisade/identity/peer"
)

// link is a connection of one proxy to another.
type link struct {
	client, server *tls.Conn
	seen           peer.Peer // by the server
	track          *peer.Conn
}

func (l *link) close() {
	_ = l.client.NetConn().Close()
	_ = l.server.NetConn().Close()
	l.track.Release()
}

// alive tells whether bytes still pass.
func (l *link) alive() bool {
	if _, err := l.client.Write([]byte("x")); err != nil {
		return false
	}
	_ = l.server.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, err := l.server.Read(make([]byte, 1))
	return err == nil
}

// connected connects two proxies, the server's side tracked as a sidecar does.
func connected(t testing.TB, from, to *proxy) (*link, error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	raw, err := net.Dial("tcp", ln.Addr().String())
	must(t, err)
	other, err := ln.Accept()
	must(t, err)
	l := &link{
		client: tls.Client(raw, peer.ClientConfig(from.Certificate, from.Verifier(), peer.OneOf(to.ID()))),
		server: tls.Server(other, peer.ServerConfig(to.Certificate, to.Verifier(), peer.AnyIn(to.ID().TrustDomain()))),
	}
	failed := make(chan error, 1)
	go func() {
		err := l.client.HandshakeContext(t.Context())
		if err != nil {
			_ = raw.Close()
		}
		failed <- err
	}()
	if err := l.server.HandshakeContext(t.Context()); err != nil {
		_ = other.Close()
		<-failed
		return nil, err
	}
	if err := <-failed; err != nil {
		return nil, err
	}
	if l.seen, err = peer.Of(l.server.ConnectionState()); err != nil {
		return nil, err
	}
	l.track, err = to.Live().Track(l.seen, other)
	return l, err
}
