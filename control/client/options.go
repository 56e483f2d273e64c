package client

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/identity/workload"
	"github.com/palisade-security/palisade/model"
)

// Keeper keeps state sealed on disk: a key ring.
type Keeper interface {
	Save(name string, data []byte) error
	// Load returns what was saved. The error wraps fs.ErrNotExist if nothing was.
	Load(name string) ([]byte, error)
}

// Options say what a proxy is, how it proves it, and what is done with what control says. Funcs are called one after
// another, never two at a time, except Stats.
type Options struct {
	Domain string // trust domain
	Name   string // what it is: service/orders, edge/edge
	Node   string // host it runs on; default the host's name
	Keeper Keeper
	Log    *slog.Logger

	Control []string // host:port of the controls, any of which will do
	Bundle  []byte   // trust bundle (SPIFFE JSON) by which control is known at first; the join token may do that too

	// How it proves what it is when it has no SVID, or one that lapsed too long ago. In this order.
	JoinToken   string
	Certificate *tls.Certificate // of the node
	Kubernetes  string           // file of a projected service account token

	// Issuer is a Workload API of this host that gives the proxy its identity, in place of all that. Nil: control does.
	Issuer *workload.External

	// Compile compiles a slice; apply puts it in force and cannot fail. An error rejects it: the one before stays.
	Compile func(context.Context, *model.Snapshot) (apply func(), err error)
	// Trust is called when roots or the revocation list have changed. Client.Verifier and Client.Live have them already;
	// connections that are tracked elsewhere are to be verified again. It returns how many it cut. Nil: there are none.
	Trust func() (cut int)
	// Keys takes the JWKS of transaction tokens (RFC 7517). Nil: nobody needs them.
	Keys func(jwks []byte) error
	// Places takes where the sidecars of callees are found: service to host:port. Nil: nobody needs them.
	Places func(map[string][]string)
	// Stop is called with true when calls must no longer be served, since our own SVID has expired and the model
	// says so, and with false when they may be again. Nil: connections of Client.Live are cut, and no more.
	Stop func(stopped bool)
	// Stats is asked for each report. Nil: nothing is counted.
	Stats func() Stats
	// Record makes an event of what happened. Nil: it is logged and reported alone.
	Record func(context.Context, wire.Note)

	Every time.Duration // between reports, default 5 s
}

// Stats is what a proxy reports of its work.
type Stats struct {
	Traffic     wire.Traffic
	Connections int             // that others have to it
	Addresses   []string        // where it takes mTLS calls for its service
	Keys        json.RawMessage // of the edge: JWKS of the transaction tokens it signs
}

const defaultEvery = 5 * time.Second

func (o *Options) complete() error {
	if o.Domain == "" || o.Name == "" || o.Keeper == nil || o.Log == nil || o.Compile == nil {
		return errors.New("trust domain, name, keeper, log and compile must be given")
	}
	if o.Every == 0 {
		o.Every = defaultEvery
	}
	if o.Node == "" {
		host, err := os.Hostname()
		if err != nil {
			return err
		}
		o.Node = host
	}
	return nil
}

// instance names this process among those of its identity.
func (o *Options) instance() string {
	return strings.ReplaceAll(o.Node, " ", "-") + "-" + strings.ToLower(rand.Text()[:8])
}
