package workload

import (
	"context"
	"errors"
	"net"
	"sync"

	"google.golang.org/grpc/credentials"

	"github.com/palisade-security/palisade/identity/attest"
)

// handshaker pins the process behind each connection before a byte of it is read. There is no TLS: a caller has
// no roots yet that it could check ours with (SPIFFE Workload Endpoint, section 3.1).
type handshaker struct {
	connections *quota
}

// authInfo carries the pinned process to the handlers.
type authInfo struct {
	credentials.CommonAuthInfo
	caller *attest.Peer
}

// AuthType names the way of authentication.
func (authInfo) AuthType() string { return "unix-peer" }

// pinned is a connection that lets go of the caller when it is closed.
type pinned struct {
	net.Conn
	once sync.Once
	done func() error
}

// Close may be called more than once.
func (c *pinned) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { err = errors.Join(err, c.done()) })
	return err
}

// ServerHandshake asks the kernel who connected. On error gRPC closes the connection.
func (h *handshaker) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, ok := raw.(*net.UnixConn)
	if !ok {
		return nil, nil, errors.New("not a Unix socket")
	}
	caller, err := attest.NewPeer(conn)
	if err != nil {
		return nil, nil, err
	}
	if err := h.connections.take(caller.PID(), caller.UID()); err != nil {
		return nil, nil, errors.Join(err, caller.Close())
	}
	done := func() error {
		h.connections.give(caller.PID(), caller.UID())
		return caller.Close()
	}
	return &pinned{Conn: conn, done: done}, authInfo{
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}, caller: caller,
	}, nil
}

// ClientHandshake is no business of a server.
func (h *handshaker) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("not a client")
}

// Info names the protocol.
func (h *handshaker) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "unix-peer"}
}

// Clone is required by gRPC.
func (h *handshaker) Clone() credentials.TransportCredentials { return &handshaker{h.connections} }

// OverrideServerName is required by gRPC and has no meaning here.
func (h *handshaker) OverrideServerName(string) error { return nil }
