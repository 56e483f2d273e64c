package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// ErrUnsafe tells that a server of the cluster does not sync to disk what it acknowledges.
var ErrUnsafe = errors.New("a bus server does not sync what it acknowledges (sync_interval: always)")

// Connection is one at some server of the cluster.
type Connection struct {
	Server string // its id
	Number uint64 // the server's number for it
	ID     string // the identity that the callout gave it
	Mark   string // what the callout knew of it besides
}

// Operator sees all servers of a cluster and ends connections, embedded or external. Its client has the
// role System.
type Operator struct{ client *Client }

// NewOperator returns an operator.
func NewOperator(client *Client) *Operator { return &Operator{client} }

const (
	pageSize  = 512
	gathering = 2 * time.Second // for servers to answer
)

// serverAnswer is how servers answer to requests in the system account (nats-server events.go).
type serverAnswer[T any] struct {
	Server struct {
		Name string `json:"name"`
		ID   string `json:"id"`
	} `json:"server"`
	Data  T `json:"data"`
	Error *struct {
		Code int    `json:"code"`
		Text string `json:"description"`
	} `json:"error"`
	Stats struct {
		Servers int `json:"active_servers"`
	} `json:"statsz"`
}

// Servers returns the ids of all servers that answer. The error tells if others know of more.
func (o *Operator) Servers(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, gathering)
	defer cancel()
	inbox := o.client.nc.NewInbox()
	sub, err := o.client.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("finding the bus servers: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only if the connection is gone, and the subscription with it
	if err := o.client.nc.PublishRequest("$SYS.REQ.SERVER.PING.STATSZ", inbox, nil); err != nil {
		return nil, fmt.Errorf("finding the bus servers: %w", err)
	}
	var ids []string
	for most := 1; len(ids) < most; {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return ids, fmt.Errorf("finding the bus servers: %d of %d answered: %w", len(ids), most, err)
		}
		var a serverAnswer[json.RawMessage]
		if json.Unmarshal(m.Data, &a) != nil || a.Server.ID == "" {
			return ids, errors.New("finding the bus servers: an answer cannot be read")
		}
		ids = append(ids, a.Server.ID)
		most = max(most, a.Stats.Servers)
	}
	return ids, nil
}

// ask asks one server and reads its answer's data.
func askServer[T any](ctx context.Context, o *Operator, server, what string, query any) (T, error) {
	var a serverAnswer[T]
	data, err := json.Marshal(query)
	if err != nil {
		return a.Data, err
	}
	err = within(ctx, gathering, func(ctx context.Context) error {
		m := nats.NewMsg("$SYS.REQ.SERVER." + server + "." + what)
		m.Data = data
		answer, err := o.client.exchange(ctx, m)
		if err != nil {
			return err
		}
		return json.Unmarshal(answer.Data, &a)
	})
	if err == nil && a.Error != nil {
		err = errors.New(a.Error.Text)
	}
	return a.Data, err
}

type connections struct {
	Connections []struct {
		Number uint64 `json:"cid"`
		Name   string `json:"authorized_user"`
	} `json:"connections"`
	Total int `json:"total"`
}

// Connections returns those of identities, at every server that answers.
func (o *Operator) Connections(ctx context.Context) ([]Connection, error) {
	servers, err := o.Servers(ctx)
	var out []Connection
	for _, server := range servers {
		for offset := 0; ; offset += pageSize {
			page, pageErr := askServer[connections](ctx, o, server, "CONNZ", map[string]any{
				"auth": true, "acc": fleetAccount, "offset": offset, "limit": pageSize,
			})
			if pageErr != nil {
				err = errors.Join(err, fmt.Errorf("reading connections of %s: %w", server, pageErr))
				break
			}
			for _, c := range page.Connections {
				id, mark := parseName(c.Name)
				out = append(out, Connection{Server: server, Number: c.Number, ID: id, Mark: mark})
			}
			if len(page.Connections) < pageSize {
				break
			}
		}
	}
	return out, err
}

// Cut ends all connections of identities that the func names, and returns how many. It looks again until it finds none.
// The error tells if a server did not answer; then call it again when it is back.
// The callout must refuse the identity already, or it comes back at once. Guard ends what was let in meanwhile.
func (o *Operator) Cut(ctx context.Context, barred func(Connection) bool) (int, error) {
	cut := 0
	for {
		all, err := o.Connections(ctx)
		found := 0
		for _, c := range all {
			if c.ID == "" || !barred(c) {
				continue
			}
			found++
			if kickErr := o.kick(ctx, c.Server, c.Number); kickErr != nil {
				err = errors.Join(err, kickErr)
				continue
			}
			cut++
		}
		if found == 0 || err != nil {
			return cut, err
		}
	}
}

// kick ends one connection. One that is gone already is no error.
func (o *Operator) kick(ctx context.Context, server string, number uint64) error {
	_, err := askServer[json.RawMessage](ctx, o, server, "KICK", map[string]uint64{"cid": number})
	if err != nil && err.Error() == "no such client or leafnode id" {
		return nil
	}
	if err != nil {
		return fmt.Errorf("ending a connection: %w", err)
	}
	return nil
}

// Guard ends connections of barred identities as they come, until the context ends; it returns why. It closes
// the gap between a callout's yes and a revocation a moment later.
func (o *Operator) Guard(ctx context.Context, barred func(Connection) bool) error {
	work := make(chan *nats.Msg, calloutWaiting)
	sub, err := o.client.nc.ChanSubscribe("$SYS.ACCOUNT."+fleetAccount+".CONNECT", work)
	if err != nil {
		return fmt.Errorf("guarding the bus: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only if the connection is gone, and the subscription with it
	for {
		select {
		case m := <-work:
			var came struct {
				Server struct {
					ID string `json:"id"`
				} `json:"server"`
				Client struct {
					Number uint64 `json:"id"`
					Name   string `json:"user"`
				} `json:"client"`
			}
			if err := json.Unmarshal(m.Data, &came); err != nil {
				continue
			}
			conn := Connection{Server: came.Server.ID, Number: came.Client.Number}
			if conn.ID, conn.Mark = parseName(came.Client.Name); conn.ID == "" || !barred(conn) {
				continue
			}
			if err := o.kick(ctx, conn.Server, conn.Number); err != nil {
				o.client.log.Warn("bus connection of a barred identity not ended", "id", conn.ID, "error", err)
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-o.client.closed:
			return fmt.Errorf("guarding the bus: %w", ErrClosed)
		}
	}
}

// CheckSync returns ErrUnsafe if a server with streams does not sync each write before it acknowledges it.
// Another error tells that not every server could be asked: those that could are safe.
func (o *Operator) CheckSync(ctx context.Context) error {
	servers, err := o.Servers(ctx)
	for _, server := range servers {
		info, askErr := askServer[struct {
			Disabled bool `json:"disabled"`
			Config   struct {
				SyncAlways bool `json:"sync_always"`
			} `json:"config"`
		}](ctx, o, server, "JSZ", map[string]any{"config": true})
		if askErr != nil {
			err = errors.Join(err, fmt.Errorf("asking a bus server how it syncs: %w", askErr))
			continue
		}
		if !info.Disabled && !info.Config.SyncAlways {
			return ErrUnsafe
		}
	}
	return err
}

const (
	syncSoon  = 5 * time.Second // until a server that did not answer is asked again
	syncAgain = time.Minute     // until all are: one may have been started anew with other settings
)

// GuardSync asks all servers again and again how they sync, until the context ends or one is unsafe; it returns why.
// A server that does not answer, as it starts or is away, is asked when it does.
func (o *Operator) GuardSync(ctx context.Context) error {
	silent := false
	for {
		err := o.CheckSync(ctx)
		if errors.Is(err, ErrUnsafe) {
			return err
		}
		if err != nil && !silent && ctx.Err() == nil {
			o.client.log.Warn("not every bus server says how it syncs", "error", err)
		}
		silent = err != nil
		wait := syncAgain
		if silent {
			wait = syncSoon
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-o.client.closed:
			return fmt.Errorf("guarding how the bus syncs: %w", ErrClosed)
		}
	}
}
