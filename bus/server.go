package bus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// ServerOptions are those of an embedded server.
type ServerOptions struct {
	Dir        string      // where streams and buckets lie; made if absent, one server at a time
	Listen     string      // host:port, port 0 for a free one; empty: reachable in this process alone
	TLS        *tls.Config // needed with Listen; must demand client certificates
	Keys       *Keys       // whom it obeys
	MaxPayload int32       // bytes of a message, default 4 MiB
	MaxStore   int64       // bytes on disk, default 8 GiB
	Log        *slog.Logger
}

const (
	defaultPayload = 4 << 20
	defaultStore   = 8 << 30
	memoryStore    = 256 << 20
	maxSubs        = 4096 // of one connection
	maxConnections = 64 << 10
	startTime      = 10 * time.Second

	// handshakes are what a core may begin with in a second: about a third of its time. Those that are above it hear so at once and come again.
	// Without it a server whose fleet comes back all at once works for those who have given up meanwhile, and loses those it has.
	handshakes = 64
)

// Server is a running embedded server. Every write to its streams is synced to disk before it is acknowledged.
type Server struct {
	server *server.Server
	keys   *Keys
	lock   *os.File
	end    func()        // closes ended, once
	ended  chan struct{} // closed by Close
	nursed chan struct{} // closed when nurse has returned
}

// ErrListen means that the server cannot have the address that it is to listen on.
var ErrListen = errors.New("starting the bus")

// StartServer starts a server and returns when it takes connections.
func StartServer(ctx context.Context, o ServerOptions) (*Server, error) {
	options, err := o.options()
	if err != nil {
		return nil, fmt.Errorf("starting the bus: %w", err)
	}
	lock, err := lockFolder(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("starting the bus: %w", err)
	}
	if err := o.free(ctx); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	s, err := server.NewServer(options)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting the bus: %w", err), lock.Close())
	}
	var fatal atomic.Pointer[string]
	s.SetLoggerV2(serverLog{o.Log, &fatal}, false, false, false)
	started := &Server{server: s, keys: o.Keys, lock: lock, ended: make(chan struct{}), nursed: make(chan struct{})}
	started.end = sync.OnceFunc(func() { close(started.ended) })
	go started.nurse(options, o.Log)
	s.Start() // returns when it listens
	ready := startTime
	if deadline, ok := ctx.Deadline(); ok {
		ready = min(ready, time.Until(deadline))
	}
	if why := fatal.Load(); why != nil {
		started.Close()
		return nil, fmt.Errorf("starting the bus: %s", *why)
	}
	if !s.ReadyForConnections(ready) || !s.JetStreamEnabled() {
		started.Close()
		return nil, errors.New("starting the bus: the server does not come up; its log says why")
	}
	return started, nil
}

// free finds out that the address is taken. The server says so in a text alone, which it also logs.
func (o *ServerOptions) free(ctx context.Context) error {
	if o.Listen == "" {
		return nil
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrListen, err)
	}
	return ln.Close()
}

// options turns ours into the server's.
func (o *ServerOptions) options() (*server.Options, error) {
	if o.Keys == nil || o.Dir == "" || o.Log == nil {
		return nil, errors.New("it needs keys, a folder and a log")
	}
	config, err := o.Keys.ServerConfig()
	if err != nil {
		return nil, err
	}
	var s server.Options
	if o.Listen != "" { // by its text alone: the server would look for the rate where only the text leaves it
		config += fmt.Sprintf("\ntls { connection_rate_limit: %d }\nocsp: false\n", handshakes*runtime.GOMAXPROCS(0))
	}
	if err := s.ProcessConfigString(config); err != nil {
		return nil, err
	}
	s.NoSigs, s.NoSystemAccount = true, false
	s.JetStream, s.StoreDir, s.SyncAlways = true, o.Dir, true
	s.JetStreamMaxStore, s.JetStreamMaxMemory = orDefault(o.MaxStore, defaultStore), memoryStore
	s.MaxPayload = orDefault(o.MaxPayload, defaultPayload)
	s.MaxSubs, s.MaxConn, s.DisableShortFirstPing = maxSubs, maxConnections, false
	if o.Listen == "" {
		s.DontListen = true
		return &s, nil
	}
	host, port, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return nil, err
	}
	if s.Port, err = strconv.Atoi(port); err != nil {
		return nil, fmt.Errorf("%q is no port", port)
	}
	if s.Port == 0 {
		s.Port = server.RANDOM_PORT
	}
	if o.TLS == nil || o.TLS.GetConfigForClient == nil && o.TLS.ClientAuth != tls.RequireAnyClientCert && o.TLS.ClientAuth != tls.RequireAndVerifyClientCert {
		return nil, errors.New("a listener needs TLS that demands client certificates")
	}
	s.Host, s.TLSConfig, s.TLS, s.TLSVerify, s.TLSTimeout = host, o.TLS, true, true, 5
	return &s, nil
}

func orDefault[N int32 | int64](n, otherwise N) N {
	if n == 0 {
		return otherwise
	}
	return n
}

// URL is where it listens, or "" if it does not.
func (s *Server) URL() string {
	if a, ok := s.server.Addr().(*net.TCPAddr); ok && a != nil {
		return "tls://" + a.String()
	}
	return ""
}

// Keys are those it was started with.
func (s *Server) Keys() *Keys { return s.keys }

// Close ends it and returns when it has ended. What it acknowledged is on disk.
func (s *Server) Close() {
	s.end()
	<-s.nursed
	s.server.Shutdown()
	s.server.WaitForShutdown()
	_ = s.lock.Close() // nothing was written to it; closing ends the lock
}

// lockFolder takes a folder for this process alone (flock(2)); the server itself does not look.
func lockFolder(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("locking %q, perhaps another server runs on it: %w", dir, err), f.Close())
	}
	return f, nil
}
