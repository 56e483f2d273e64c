// Package serve is what the hotel's services share: serving gRPC where they are told, reaching each other, ending when
// asked to. It is example code, kept small on purpose.
package serve

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

// GRPC serves on an address until SIGTERM. It ends the process if it cannot.
func GRPC(address string, register func(*grpc.Server)) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	s := grpc.NewServer()
	register(s)
	go func() {
		<-ctx.Done()
		s.GracefulStop()
	}()
	if err := s.Serve(ln); err != nil {
		log.Fatal(err)
	}
}

// Forward are the fields of a request that are handed on with the calls it leads to. It is a flag.Value.
type Forward []string

// Tracing is what tracing needs (W3C Trace Context).
func Tracing() Forward { return Forward{"traceparent", "tracestate"} }

// String implements flag.Value.
func (f *Forward) String() string { return strings.Join(*f, ",") }

// Set implements flag.Value.
func (f *Forward) Set(s string) error {
	*f = strings.Split(strings.ToLower(s), ",")
	return nil
}

// HTTP keeps the fields of requests where calls find them.
func (f Forward) HTTP(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		md := metadata.MD{}
		for _, name := range f {
			md.Append(name, r.Header.Values(name)...)
		}
		h.ServeHTTP(w, r.WithContext(metadata.NewIncomingContext(r.Context(), md)))
	})
}

// Dial reaches a service at host:port, in the clear.
func (f Forward) Dial(address string) grpc.ClientConnInterface {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, in, out any, c *grpc.ClientConn, invoke grpc.UnaryInvoker, o ...grpc.CallOption) error {
			return invoke(f.hand(ctx), method, in, out, c, o...)
		}),
		grpc.WithStreamInterceptor(func(ctx context.Context, d *grpc.StreamDesc, c *grpc.ClientConn, method string, open grpc.Streamer, o ...grpc.CallOption) (grpc.ClientStream, error) {
			return open(f.hand(ctx), d, c, method, o...)
		}))
	if err != nil {
		log.Fatal(fmt.Errorf("reaching %s: %w", address, err))
	}
	return conn
}

// hand puts what came with a request into what goes out for it.
func (f Forward) hand(ctx context.Context) context.Context {
	for _, name := range f {
		for _, v := range metadata.ValueFromIncomingContext(ctx, name) {
			ctx = metadata.AppendToOutgoingContext(ctx, name, v)
		}
	}
	return ctx
}
