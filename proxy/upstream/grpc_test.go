package upstream_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"

	"github.com/palisade-security/palisade/proxy/field"
	"github.com/palisade-security/palisade/proxy/upstream"
)

// serveGRPC starts a gRPC server that answers health checks to anyone with a certificate.
func (m *mesh) serveGRPC() (string, *health.Server, *grpc.Server) {
	m.t.Helper()
	l, err := new(net.ListenConfig).Listen(m.t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		m.t.Fatal(err)
	}
	s := grpc.NewServer(grpc.Creds(credentials.NewTLS(m.server("payments"))))
	h := health.NewServer()
	healthpb.RegisterHealthServer(s, h)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l)
	}()
	m.t.Cleanup(func() {
		s.Stop()
		<-done
	})
	return l.Addr().String(), h, s
}

// checkGRPC asks how service does as a gRPC client would, and returns its state and the call's status.
func checkGRPC(t *testing.T, c upstream.Transport, service string) (healthpb.HealthCheckResponse_ServingStatus, string, error) {
	t.Helper()
	message, err := proto.Marshal(&healthpb.HealthCheckRequest{Service: service})
	if err != nil {
		t.Fatal(err)
	}
	frame := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))
	body := bytes.NewReader(append(frame, message...))
	r, err := c.Do(t.Context(), &upstream.Request{
		Method: "POST", Target: "/grpc.health.v1.Health/Check", Host: "payments", Body: body, Length: -1,
		Header: field.List{{Name: "Content-Type", Value: "application/grpc"}, {Name: "Te", Value: "trailers"}},
	})
	if err != nil {
		return 0, "", err
	}
	got := read(t, r, nil)
	if status := r.Header.Get("Grpc-Status"); status != "" {
		return 0, status, nil
	}
	var answer healthpb.HealthCheckResponse
	if len(got) < 5 || proto.Unmarshal([]byte(got[5:]), &answer) != nil {
		t.Fatalf("answer %q", got)
	}
	return answer.GetStatus(), r.Trailer().Get("Grpc-Status"), nil
}

// TestGRPC calls gRPC servers over mTLS, through a certificate's renewal, a peer's denial and the loss of a server.
func TestGRPC(t *testing.T) {
	m := newMesh(t)
	var addresses []string
	var servers []*grpc.Server
	for range 3 {
		addr, _, s := m.serveGRPC()
		addresses, servers = append(addresses, addr), append(servers, s)
	}
	b := upstream.NewBalancer(upstream.Options{TLS: m.client(), Trust: &m.trust}, upstream.HTTP2, addresses...)
	defer b.Close()
	call := func() {
		t.Helper()
		if state, status, err := checkGRPC(t, b, ""); err != nil || state != healthpb.HealthCheckResponse_SERVING || status != "0" {
			t.Fatalf("got %v, status %q, %v", state, status, err)
		}
	}
	for range 50 {
		call()
	}
	for _, a := range b.State().Addresses {
		if a.Requests == 0 || a.Failed > 0 || a.InFlight > 0 {
			t.Errorf("%+v", a)
		}
	}
	if _, status, err := checkGRPC(t, b, "unknown"); err != nil || status != "5" {
		t.Errorf("an unknown service: status %q, %v", status, err)
	}
	m.mine.Store(m.issue("orders-2"))
	m.trust.Renew()
	call()
	servers[0].GracefulStop()
	for range 50 {
		call()
	}
	m.denied.Store(true)
	m.trust.Recheck()
	for { // what meets a connection that is just being cut breaks with it
		_, status, err := checkGRPC(t, b, "")
		if err == nil {
			t.Fatalf("a denied peer answered: status %q", status)
		}
		if errors.Is(err, upstream.ErrDial) {
			break
		}
		if !errors.Is(err, upstream.ErrDisconnected) {
			t.Fatalf("a denied peer: %v", err)
		}
	}
}
