package app_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/app"
	"github.com/palisade-security/palisade/app/isolate"
	"github.com/palisade-security/palisade/internal/fleettest"
	"github.com/palisade-security/palisade/internal/porttest"
	"github.com/palisade-security/palisade/token"
)

// programs are those of the examples.
var programs struct{ shop, hotel *fleettest.Programs }

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == isolate.Verb {
		os.Exit(isolate.Inside(context.Background(), os.Args[2:], os.Stderr))
	}
	if len(os.Args) > 4 && os.Args[1] == natsVerb {
		fmt.Fprintln(os.Stderr, natsService(context.Background(), os.Args[2], os.Args[3], os.Args[4]))
		os.Exit(1)
	}
	slog.SetDefault(slog.New(slog.DiscardHandler))
	var err, err2 error
	programs.shop, err = fleettest.NewPrograms("../examples/shop", "./web", "./catalog", "./orders", "./payments")
	programs.hotel, err2 = fleettest.NewPrograms("../examples/hotel", "./front", "./search", "./geo", "./rates", "./profiles", "./reservations")
	if err = errors.Join(err, err2, fleettest.EndAtOnce()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = errors.Join(programs.shop.Remove(), programs.hotel.Remove()) // nothing is left to report to
	os.Exit(code)
}

// fleet is an example behind a gateway, with ports and folders of its own.
type fleet struct {
	*fleettest.Fleet
	redirect, admin string // host:port
	options         *app.Options
	lines           fleettest.Output
	reload          chan struct{}
	stop            context.CancelFunc
	done            chan struct{} // closed when up has ended
	err             error         // of up, once done
}

// newExample writes the model of an example.
func newExample(t *testing.T, name, host string) *fleet {
	t.Helper()
	f := &fleet{Fleet: fleettest.New(t), reload: make(chan struct{}), done: make(chan struct{})}
	f.Host = host
	f.Write("palisade.yaml", fleettest.Read(t, filepath.Join("../examples", name, "palisade.yaml")))
	f.options = &app.Options{Paths: []string{f.Dir}, Out: &f.lines, Err: &f.Messages}
	return f
}

// newFleet writes the shop's model with free ports. Edits are pairs of old and new text of palisade.yaml.
func newFleet(t *testing.T, edits ...string) *fleet {
	t.Helper()
	f := newExample(t, "shop", "shop.localhost")
	ports := porttest.Free(t, 7)
	f.Edge, f.redirect, f.admin = ports[0], ports[1], ports[2]
	pairs := []string{
		"127.0.0.1:8443", f.Edge, "127.0.0.1:8080", f.redirect,
		"edge:\n", "edge:\n  admin: " + f.admin + "\n",
		"rate: 300/1m, burst: 100", "rate: 1000000/1m, burst: 1000000",
	}
	for i, name := range []string{"web", "catalog", "orders", "payments"} {
		pairs = append(pairs, fmt.Sprintf("127.0.0.1:910%d", i+1), ports[3+i], "build: [go, build, -o, .palisade/bin/"+name+", ./"+name+"], command: [.palisade/bin/"+name+"]", "command: ["+programs.shop.Path(t, name)+"]")
	}
	for _, name := range []string{"policies/orders.cedar", "openapi/orders.yaml", "openapi/catalog.yaml"} {
		f.Write(name, fleettest.Read(t, filepath.Join("../examples/shop", name)))
	}
	f.Edit("palisade.yaml", pairs...)
	f.Edit("palisade.yaml", edits...)
	return f
}

// startFleet runs a fleet and waits until it takes requests. It is stopped at the end of the test.
func startFleet(t *testing.T, edits ...string) *fleet {
	t.Helper()
	f := newFleet(t, edits...)
	f.start()
	return f
}

func (f *fleet) start() {
	f.T.Helper()
	ctx, cancel := context.WithCancel(f.T.Context())
	f.stop = cancel
	go func() {
		defer close(f.done)
		f.err = app.Up(ctx, f.options, f.reload)
	}()
	f.T.Cleanup(func() {
		cancel()
		<-f.done
	})
	f.Eventually("up is ready", func() bool {
		select {
		case <-f.done:
			f.T.Fatalf("up ended: %v\n%s", f.err, f.Messages.String())
		default:
		}
		return strings.Contains(f.Messages.String(), "Ctrl-C stops everything")
	})
}

func (f *fleet) token(subject string, c token.Claims, roles ...string) string {
	f.T.Helper()
	c.Subject, c.Roles = subject, roles
	s, err := app.Token(f.options, c)
	if err != nil {
		f.T.Fatal(err)
	}
	return s
}
