package control

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/identity/authority"
	"github.com/palisade-security/palisade/identity/workload"
	"github.com/palisade-security/palisade/store/table"
)

// BusServer is what a server of an external bus needs to be one of the fleet's.
type BusServer struct {
	Config            string    // part of its configuration: who is asked about everybody who connects (bus.Keys)
	Chain, Key, Roots []byte    // PEM: its SVID, and whom it trusts; nil with another issuer, whose Workload API gives them
	Ends              time.Time // of the SVID
}

// MakeBusServer makes them from store and ring alone, since control itself needs its bus to run. It is written down as an
// act of who.
func MakeBusServer(ctx context.Context, o Options, name, who string) (*BusServer, error) {
	c, err := New(o)
	if err != nil {
		return nil, err
	}
	id, err := workload.ParseID(c.domain.IDString() + "/bus/" + name)
	if err != nil {
		return nil, fmt.Errorf("%q is no name for a bus server: %w", name, err)
	}
	out, err := c.makeBusServer(ctx, id)
	c.act(ctx, caller{name: who}, "bus-server", "bus/"+name, err, nil)
	if err != nil {
		return nil, fmt.Errorf("making a bus server: %w", err)
	}
	return out, nil
}

func (c *Control) makeBusServer(ctx context.Context, id workload.ID) (*BusServer, error) {
	keys, err := c.vault.busKeys(ctx)
	if err != nil {
		return nil, err
	}
	out := new(BusServer)
	if out.Config, err = keys.ServerConfig(); err != nil || c.o.Issuer != nil {
		return out, err
	}
	if err := c.openAuthority(ctx); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	svid, err := c.authority.SignX509(ctx, authority.X509Request{ID: id, Public: key.Public(), TTL: authority.MaxTTL})
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(svid.Chain[0])
	if err != nil {
		return nil, err
	}
	out.Ends = leaf.NotAfter
	if err := c.noteBusServer(ctx, id, out.Ends); err != nil {
		return nil, err
	}
	out.Key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	for _, der := range svid.Chain {
		out.Chain = append(out.Chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	for _, root := range c.authority.Bundle().X509Authorities() {
		out.Roots = append(out.Roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw})...)
	}
	return out, nil
}

const busServersBlob = "bus-servers"

// noteBusServer keeps until when the SVID of a server is good: nobody else asks for another one.
func (c *Control) noteBusServer(ctx context.Context, id workload.ID, ends time.Time) error {
	return c.o.Store.Write(ctx, func(t *table.Tx) error {
		all, revision, err := busServers(ctx, t)
		if err != nil {
			return err
		}
		maps.DeleteFunc(all, func(_ string, old time.Time) bool { return time.Since(old) > forgetBusServer })
		all[strings.TrimPrefix(id.Path(), "/")] = ends.UTC()
		data, err := json.Marshal(all)
		if err != nil {
			return fmt.Errorf("writing the servers of the bus: %w", err)
		}
		return t.SaveBlob(ctx, busServersBlob, data, revision)
	})
}

// forgetBusServer is how long after the end of its last SVID a server is one that there was.
const forgetBusServer = 7 * 24 * time.Hour

// busServers reads until when the SVIDs of servers are good.
func busServers(ctx context.Context, t *table.Tx) (all map[string]time.Time, revision int64, err error) {
	all = map[string]time.Time{}
	data, revision, err := t.Blob(ctx, busServersBlob)
	if errors.Is(err, table.ErrNotFound) {
		return all, 0, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &all)
	}
	return all, revision, err
}

// showBusServers adds them to a status.
func (c *Control) showBusServers(ctx context.Context, s *admin.Status) error {
	var all map[string]time.Time
	err := c.o.Store.Read(ctx, func(t *table.Tx) (err error) {
		all, _, err = busServers(ctx, t)
		return err
	})
	for _, name := range slices.Sorted(maps.Keys(all)) {
		s.BusServers = append(s.BusServers, admin.BusServer{Name: name, Expires: all[name]})
	}
	return err
}
