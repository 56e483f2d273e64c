package control

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"

	"github.com/palisade-security/palisade/identity/authority"
	"github.com/palisade-security/palisade/identity/workload"
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
	out.Key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	for _, der := range svid.Chain {
		out.Chain = append(out.Chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	for _, root := range c.authority.Bundle().X509Authorities() {
		out.Roots = append(out.Roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw})...)
	}
	return out, nil
}
