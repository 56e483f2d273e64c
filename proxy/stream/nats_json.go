package stream

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/palisade-security/palisade/proxy"
)

// natsInfo is what a client is told of the broker's INFO. Left out is what would lead it past the mesh (addresses of
// the cluster), what asks for TLS, which the mesh has done, and what asks for credentials, which are not its to give.
type natsInfo struct {
	ID         string `json:"server_id"`
	Name       string `json:"server_name"`
	Version    string `json:"version"`
	Proto      int    `json:"proto"`
	Go         string `json:"go"`
	Host       string `json:"host"`
	Port       int    `json:"port"`
	Headers    bool   `json:"headers"`
	MaxPayload int64  `json:"max_payload"`
	JetStream  bool   `json:"jetstream,omitempty"`
	ClientID   uint64 `json:"client_id,omitempty"`
	Cluster    string `json:"cluster,omitempty"`
	Domain     string `json:"domain,omitempty"`
	APILevel   int    `json:"api_lvl,omitempty"`
}

// rewriteInfo turns the broker's first line into the one that the client gets. A broker that asks nobody who connects
// would let everybody do everything, and is refused.
func rewriteInfo(line []byte) ([]byte, error) {
	odd := func(text string) error { return Refusal(proxy.KindUpstream, "no-nats-broker", text) }
	text, ok := bytes.CutPrefix(line, []byte("INFO "))
	if !ok {
		return nil, odd("the broker does not begin with its INFO")
	}
	var info struct {
		natsInfo
		TLSRequired  bool `json:"tls_required"`
		TLSAvailable bool `json:"tls_available"`
		AuthRequired bool `json:"auth_required"`
	}
	switch {
	case json.Unmarshal(text, &info) != nil:
		return nil, odd("the broker's INFO is not understood")
	case info.TLSRequired && !info.TLSAvailable:
		return nil, odd("the broker demands TLS of its sidecar; let it listen in the clear on loopback")
	case !info.AuthRequired:
		return nil, Refusal(proxy.KindUpstream, "open-broker", "the broker asks nobody who connects; give it the configuration that palisade export nats writes, and no no_auth_user")
	}
	out, err := json.Marshal(info.natsInfo)
	if err != nil {
		return nil, fmt.Errorf("writing INFO: %w", err)
	}
	return append(append([]byte("INFO "), out...), '\r', '\n'), nil
}

// natsConnect are the options of a CONNECT that a client may choose. Absent ones stay absent: the broker has defaults.
type natsConnect struct {
	Verbose      *bool   `json:"verbose,omitempty"`
	Pedantic     *bool   `json:"pedantic,omitempty"`
	Echo         *bool   `json:"echo,omitempty"`
	Headers      *bool   `json:"headers,omitempty"`
	NoResponders *bool   `json:"no_responders,omitempty"`
	Name         *string `json:"name,omitempty"`
	Lang         *string `json:"lang,omitempty"`
	Version      *string `json:"version,omitempty"`

	Protocol    int    `json:"protocol"`     // 0: the broker sends no further INFO, which would name its cluster
	TLSRequired bool   `json:"tls_required"` // false
	Token       string `json:"auth_token"`
}

// readConnect reads a client's CONNECT. One who brings credentials, or asks for an account, is refused.
func readConnect(line []byte) (*natsConnect, error) {
	text, ok := bytes.CutPrefix(line, []byte("CONNECT "))
	if !ok {
		return nil, Refusal(proxy.KindMalformed, "no-nats-client", "the client does not begin with its CONNECT")
	}
	members, err := objectMembers(text)
	if err != nil {
		return nil, Refusal(proxy.KindMalformed, "malformed-connect", err.Error())
	}
	c := &natsConnect{}
	into := map[string]any{
		"verbose": &c.Verbose, "pedantic": &c.Pedantic, "echo": &c.Echo, "headers": &c.Headers,
		"no_responders": &c.NoResponders, "name": &c.Name, "lang": &c.Lang, "version": &c.Version,
	}
	for name, value := range members {
		if target, ok := into[name]; ok {
			if json.Unmarshal(value, target) != nil {
				return nil, Refusal(proxy.KindMalformed, "malformed-connect", fmt.Sprintf("option %q has a wrong type", name))
			}
			continue
		}
		if claims(name) && !isNothing(value) {
			return nil, Refusal(proxy.KindUnauthenticated, "own-credentials", fmt.Sprintf("the client brings %q of its own; its identity is the mesh's to show", name))
		}
	}
	return c, nil
}

// claims reports whether an option says who a client is, or where it belongs.
func claims(name string) bool {
	switch name {
	case "user", "pass", "auth_token", "jwt", "nkey", "sig", "proxy_sig", "account", "new_account", "remote_account", "import", "export":
		return true
	}
	return false
}

func isNothing(value json.RawMessage) bool {
	switch string(value) {
	case `""`, "null", "false":
		return true
	}
	return false
}

// objectMembers reads one JSON object. A name stands once and is lower case: the broker's reader takes the last of
// several, and takes them in any case.
func objectMembers(text []byte) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("the options are no JSON object")
	}
	members := map[string]json.RawMessage{}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, errors.New("the options are no JSON object")
		}
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") != "" {
			return nil, errors.New("an option has a name that no client uses")
		}
		if _, twice := members[name]; twice {
			return nil, fmt.Errorf("option %q stands twice", name)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, errors.New("the options are no JSON object")
		}
		members[name] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, errors.New("the options are no JSON object")
	}
	if len(bytes.TrimSpace(text[d.InputOffset():])) > 0 {
		return nil, errors.New("something stands behind the options")
	}
	return members, nil
}

// line is the CONNECT as the broker gets it.
func (c *natsConnect) line() ([]byte, error) {
	out, err := json.Marshal(c) //nolint:gosec // G117: telling the broker is what the token is for
	if err != nil {
		return nil, fmt.Errorf("writing CONNECT: %w", err)
	}
	return append(append([]byte("CONNECT "), out...), '\r', '\n'), nil
}
