package bus

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/nats-io/nkeys"
)

// Role is what a client is that connects with Keys instead of a certificate.
type Role string

// The roles.
const (
	Control Role = "control" // may do everything in the fleet's account
	Callout Role = "callout" // answers who may connect, and nothing else
	System  Role = "system"  // sees servers and connections, and ends connections
)

// The accounts of a server. Subjects of one cannot be reached from another.
const (
	fleetAccount   = "FLEET"
	calloutAccount = "CALLOUT"
	systemAccount  = "SYSTEM"
)

// Keys are the secrets by which a server obeys its owner: one Ed25519 key for each role, one that signs answers of the
// auth callout, and an X25519 key with which servers seal what they ask it. They never reach a server.
type Keys struct {
	roles  map[Role]nkeys.KeyPair
	issuer nkeys.KeyPair
	curve  nkeys.KeyPair
}

// seeds is the JSON form of Keys.
type seeds struct {
	Control string `json:"control"`
	Callout string `json:"callout"`
	System  string `json:"system"`
	Issuer  string `json:"issuer"`
	Curve   string `json:"curve"`
}

// NewKeys makes keys.
func NewKeys() (*Keys, error) {
	k := &Keys{roles: map[Role]nkeys.KeyPair{}}
	var err error
	for _, role := range []Role{Control, Callout, System} {
		if k.roles[role], err = nkeys.CreateUser(); err != nil {
			return nil, fmt.Errorf("making the bus key of %s: %w", role, err)
		}
	}
	if k.issuer, err = nkeys.CreateAccount(); err != nil {
		return nil, fmt.Errorf("making the bus key that signs: %w", err)
	}
	if k.curve, err = nkeys.CreateCurveKeys(); err != nil {
		return nil, fmt.Errorf("making the bus key that opens: %w", err)
	}
	return k, nil
}

// writes is the subject to which values of buckets are sent. It is secret as the keys are: see Bucket.
func (k *Keys) writes() (string, error) {
	seed, err := k.roles[Control].Seed()
	if err != nil {
		return "", err
	}
	mac := hmac.New(sha256.New, seed)
	_, _ = mac.Write([]byte("palisade bucket writes v1")) // never fails (hash.Hash)
	return "w" + hex.EncodeToString(mac.Sum(nil)), nil
}

// Marshal returns the keys as JSON. It is secret: seal it before it is written anywhere.
func (k *Keys) Marshal() ([]byte, error) {
	var s seeds
	for to, pair := range map[*string]nkeys.KeyPair{
		&s.Control: k.roles[Control], &s.Callout: k.roles[Callout], &s.System: k.roles[System], &s.Issuer: k.issuer, &s.Curve: k.curve,
	} {
		seed, err := pair.Seed()
		if err != nil {
			return nil, fmt.Errorf("writing the bus keys: %w", err)
		}
		*to = string(seed)
	}
	return json.Marshal(s)
}

// ParseKeys reads what Marshal returned. Its errors hold nothing of the data.
func ParseKeys(data []byte) (*Keys, error) {
	var s seeds
	if json.Unmarshal(data, &s) != nil {
		return nil, fmt.Errorf("reading the bus keys: the data is no key file")
	}
	k := &Keys{roles: map[Role]nkeys.KeyPair{}}
	parse := func(name, seed string, kind nkeys.PrefixByte) (nkeys.KeyPair, error) {
		if prefix, _, err := nkeys.DecodeSeed([]byte(seed)); err != nil || prefix != kind {
			return nil, fmt.Errorf("reading the bus keys: the key %q is malformed", name)
		}
		if kind == nkeys.PrefixByteCurve {
			return nkeys.FromCurveSeed([]byte(seed))
		}
		return nkeys.FromSeed([]byte(seed))
	}
	var err error
	for role, seed := range map[Role]string{Control: s.Control, Callout: s.Callout, System: s.System} {
		if k.roles[role], err = parse(string(role), seed, nkeys.PrefixByteUser); err != nil {
			return nil, err
		}
	}
	if k.issuer, err = parse("issuer", s.Issuer, nkeys.PrefixByteAccount); err != nil {
		return nil, err
	}
	if k.curve, err = parse("curve", s.Curve, nkeys.PrefixByteCurve); err != nil {
		return nil, err
	}
	return k, nil
}

// ServerConfig returns the part of a nats-server configuration that makes a server ask the callout of these keys
// about everybody who connects. It holds public keys alone. Listener, TLS, cluster and JetStream
// (with sync_interval: always) stand beside it.
func (k *Keys) ServerConfig() (string, error) {
	public := map[string]string{}
	for name, pair := range map[string]nkeys.KeyPair{
		"control": k.roles[Control], "callout": k.roles[Callout], "system": k.roles[System], "issuer": k.issuer, "curve": k.curve,
	} {
		key, err := pair.PublicKey()
		if err != nil {
			return "", fmt.Errorf("writing the configuration of a bus server: %w", err)
		}
		public["{"+name+"}"] = key
	}
	var pairs []string
	for name, key := range public {
		pairs = append(pairs, name, key)
	}
	return strings.NewReplacer(pairs...).Replace(serverConfig), nil
}

const serverConfig = `accounts {
  ` + fleetAccount + ` { jetstream: enabled, users: [{nkey: {control}}] }
  ` + calloutAccount + ` { jetstream: enabled, users: [{nkey: {callout}}] }
  ` + systemAccount + ` { users: [{nkey: {system}}] }
}
system_account: ` + systemAccount + `
authorization {
  timeout: 5
  auth_callout {
    issuer: {issuer}
    xkey: {curve}
    account: ` + calloutAccount + `
    auth_users: [{control}, {callout}, {system}]
  }
}
`
