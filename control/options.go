package control

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/palisade-security/palisade/bus"
	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/identity/attest"
	"github.com/palisade-security/palisade/identity/authority"
	"github.com/palisade-security/palisade/identity/federation"
	"github.com/palisade-security/palisade/identity/workload"
	"github.com/palisade-security/palisade/keyring"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/store/table"
)

// Options say what a control stands on. Those without "default" or "nil" must be given.
type Options struct {
	Domain string            // trust domain
	Store  *table.Store      // the truth; PostgreSQL when several controls run
	Ring   *keyring.Ring     // seals what the store must not show; several controls have the same ring
	Keys   authority.Keys    // that sign, such as a PKCS#11 token; nil: in the store, sealed by the ring
	Parent *authority.Parent // an upstream authority; nil: an own root
	// Issuer is a Workload API of this host that issues the identities of the fleet, control's among them. Nil: control does.
	Issuer *workload.External
	Name   string // of this control; default the host's
	Log    *slog.Logger

	Listen string // host:port of the HTTPS interface for proxies and administrators
	Reach  string // host:port under which other controls and proxies reach it; default where it listens
	Socket string // Unix socket for administrators of this host; empty: none
	Bus    BusOptions

	// Model is put in force if the store knows none yet. Nil: wait for the first that is applied.
	Model *model.Snapshot
	// Check refuses a model that proxies could not compile; nil: only proxies do.
	Check func(context.Context, *model.Snapshot) error

	Join         time.Duration      // longest life of a join token, default 24 h
	Grace        time.Duration      // how long after its end an SVID still proves what a proxy is, default 72 h; negative: never
	Kubernetes   *attest.Kubernetes // reviews service account tokens; nil: they prove nothing
	Certificates *Certificates      // node certificates; nil: they prove nothing

	Federation []federation.Relation // other trust domains whose bundles proxies get
	// Permit adds to what an identity may do on the bus, such as publish events; nil: nothing.
	Permit func(id string) bus.Permissions

	// Authenticate verifies the access token of an administrator; nil: administrators come by the socket alone.
	Authenticate func(ctx context.Context, token string) (User, error)
	Roles        map[string]admin.Role // the provider's roles to ours
	// Keep keeps events that proxies deliver, and returns when they are safe. They are told once or several times. Nil: none are taken.
	Keep func(context.Context, []*event.Event) error
	// Events is where the events of the fleet are found; nil: nowhere.
	Events admin.Events
	// Maps are those of the fleet over time; nil: none are kept.
	Maps admin.Maps
	// Holds is where events are held; nil: nowhere.
	Holds admin.Holds
	// Persons is where keys of persons are destroyed; nil: events name users.
	Persons admin.Persons
	// Names keeps names of users out of the acts in the store; nil: they are written down as they are.
	Names Names
	// Ledger shows the ledger to whoever asks, by its files; nil: to nobody.
	Ledger http.Handler
	// Console makes a link that signs a browser in to the console; nil: there is none.
	Console func(who string, role admin.Role) (admin.ConsoleResult, error)
	// Record makes an event of what happened; nil: it is logged alone.
	Record func(context.Context, Event)

	// Ready is called once it answers, with the address it listens on. Nil: nobody waits.
	Ready func(address string)
	Lease time.Duration // after which another control leads if the leader is gone, default 10 s
}

// BusOptions say which bus. With URLs it is an external cluster; otherwise a server of our own runs.
type BusOptions struct {
	Dir       string   // of our own server's streams
	Listen    string   // host:port of our own server
	URLs      []string // of an external cluster: tls://host:port
	Advertise []string // what proxies are told; default URLs, or where our own server listens
	Replicas  int      // of the bucket and the stream of events, in a cluster; default 1
	Events    int64    // bytes of events that may wait on the bus to be kept, an eighth of them one identity's; then proxies hold theirs back. Default 2 GiB
}

// Certificates are node certificates that prove what a proxy is.
type Certificates struct {
	Roots *x509.CertPool
	// Names says what the holder of a certificate may be: DNS name in it to names such as "service/orders".
	Names map[string][]string
}

// User is an administrator with roles as the provider knows them.
type User struct {
	Name  string
	Roles []string
}

// Event is something that control did, saw or refused.
type Event struct {
	At      time.Time
	Kind    string // enrolled, revoked, applied, rolled-back, rejected, denied...
	Who     string // administrator or SPIFFE ID
	Role    admin.Role
	Object  string // what it was about
	Outcome string // done, denied, failed
	Text    string
}

const (
	defaultJoin  = 24 * time.Hour
	defaultGrace = 72 * time.Hour
	defaultLease = 10 * time.Second

	defaultEvents = 2 << 30
)

func (o *Options) complete() error {
	if o.Domain == "" || o.Store == nil || o.Ring == nil || o.Log == nil || o.Listen == "" {
		return errors.New("trust domain, store, ring, log and listener must be given")
	}
	if len(o.Bus.URLs) == 0 && (o.Bus.Dir == "" || o.Bus.Listen == "") {
		return errors.New("a bus must be given: a folder and an address, or the addresses of a cluster")
	}
	if o.Name == "" {
		host, err := os.Hostname()
		if err != nil {
			return err
		}
		o.Name = host
	}
	// A process is another holder of the lease than the one before it.
	o.Name = strings.ReplaceAll(o.Name, " ", "-") + "-" + strings.ToLower(rand.Text()[:6])
	if o.Join == 0 {
		o.Join = defaultJoin
	}
	if o.Grace == 0 {
		o.Grace = defaultGrace
	}
	if o.Bus.Events == 0 {
		o.Bus.Events = defaultEvents
	}
	if o.Lease == 0 {
		o.Lease = defaultLease
	}
	return nil
}
