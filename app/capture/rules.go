// Package capture brings what a service asks to its sidecar, also where the service knows of none or means to get past
// it: packet filters (nftables) of Linux redirect its connections, keep the destination that each was meant for, and
// drop and log whatever else it sends. It is for services that share a network with others, or have one that leads
// out; services that "palisade up" starts have none, and need none of this.
package capture

import (
	"errors"
	"fmt"
	"net/netip"
	"os/user"
	"strconv"
	"strings"
)

// DefaultPort is where sidecars take captured connections.
const DefaultPort = 15001

// Rules say whose connections are captured, and where they go.
type Rules struct {
	Service   string
	Users     []User       // who runs the service; none: whatever is in the network namespace is the service's, but for its sidecar
	Sidecar   *User        // who runs its sidecar; nil: nobody in this network namespace
	Port      uint16       // on loopback, where the sidecar takes captured connections; what is dropped is logged to the NFLOG group of this number
	Serves    uint16       // where the service takes calls; 0: it takes none
	Resolvers []netip.Addr // DNS servers that the service may ask past its sidecar; none: it resolves names by /etc/hosts alone
}

// User is one that exists on this machine, or a number.
type User struct {
	Name string // empty: none is known
	ID   uint32
}

// FindUser finds a user by name or number.
func FindUser(s string) (User, error) {
	if id, err := strconv.ParseUint(s, 10, 32); err == nil && strconv.FormatUint(id, 10) == s {
		found := User{ID: uint32(id)}
		if known, err := user.LookupId(s); err == nil {
			found.Name = known.Username
		}
		return found, nil
	}
	u, err := user.Lookup(s)
	if err != nil {
		return User{}, fmt.Errorf("%q is no user of this machine; make it (useradd --system %s), or give its number", s, s)
	}
	id, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return User{}, fmt.Errorf("finding user %q: %w", s, err)
	}
	return User{Name: s, ID: uint32(id)}, nil
}

// String names the user, or its number.
func (u User) String() string {
	if u.Name == "" {
		return strconv.FormatUint(uint64(u.ID), 10)
	}
	return u.Name
}

// mostUsers keeps what a table says of itself within what the kernel takes.
const mostUsers = 5

// check reports everything that is wrong.
func (r *Rules) check() error {
	var errs []error
	wrong := func(format string, values ...any) { errs = append(errs, fmt.Errorf(format, values...)) }
	if !isService(r.Service) {
		wrong("%q is not the name of a service; expected lower-case letters, digits and dashes, at most 63", r.Service)
	}
	if r.Port == 0 {
		wrong("the sidecar needs a port for captured connections, such as %d", DefaultPort)
	}
	if r.Port != 0 && r.Serves == r.Port {
		wrong("the service takes calls on port %d, so its sidecar cannot take captured connections there; choose another port", r.Port)
	}
	if len(r.Users) > 0 && r.Sidecar == nil {
		wrong("the user of the sidecar is not known, so that its packets cannot be told from the service's")
	}
	if len(r.Users) > mostUsers {
		wrong("a service of more than %d users; give it a network namespace", mostUsers)
	}
	for _, u := range r.Users {
		switch {
		case u.ID == 0:
			wrong("the service runs as root, and rules for root would cut the host off; give it a user of its own")
		case r.Sidecar != nil && u.ID == r.Sidecar.ID:
			wrong("the service runs as %s, as its sidecar does, so that their packets cannot be told apart; give it a user of its own", u)
		}
	}
	for _, a := range r.Resolvers {
		if !a.IsValid() || a.Is4In6() || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() {
			wrong("%s is not the address of a resolver; expected one such as 10.0.0.2 or 2001:db8::2, without a zone", a)
		}
	}
	return errors.Join(errs...)
}

// isService tells whether a name is that of a service, which names of tables are made of.
func isService(s string) bool {
	for i, r := range s {
		if (r < 'a' || r > 'z') && (i == 0 || r != '-' && (r < '0' || r > '9')) {
			return false
		}
	}
	return s != "" && len(s) <= 63
}

// Subordinate tells whether a user may run processes under the ids of others, who are not captured, without any right:
// the text is that of /etc/subuid (subuid(5)).
func Subordinate(text string, u User) bool {
	for line := range strings.Lines(text) {
		owner, _, _ := strings.Cut(line, ":")
		if owner != "" && (owner == u.Name || owner == strconv.FormatUint(uint64(u.ID), 10)) {
			return true
		}
	}
	return false
}
