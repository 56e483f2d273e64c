package capture

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Status is the capture of one service, as the kernel has it.
type Status struct {
	Service    string `json:"service"`
	Port       uint16 `json:"port"`
	Users      []User `json:"users,omitempty"`   // none: the whole network namespace
	Sidecar    *User  `json:"sidecar,omitempty"` // nil: not in this network namespace
	Serves     uint16 `json:"serves,omitempty"`
	Captured   uint64 `json:"captured"`    // connections that went to the sidecar
	RefusedOut uint64 `json:"refused_out"` // packets that the service sent past its sidecar
	RefusedIn  uint64 `json:"refused_in"`  // packets sent to the service past its sidecar
}

// MarshalText writes the number: names are not the kernel's.
func (u User) MarshalText() ([]byte, error) { return strconv.AppendUint(nil, uint64(u.ID), 10), nil }

// about is what a table says of itself, as parseAbout reads it. The kernel takes 128 bytes.
func (r *Rules) about() string {
	var b strings.Builder
	fmt.Fprintf(&b, "port %d", r.Port)
	if r.Serves != 0 {
		fmt.Fprintf(&b, " serves %d", r.Serves)
	}
	if r.Sidecar != nil {
		fmt.Fprintf(&b, " sidecar %d", r.Sidecar.ID)
	}
	for _, u := range r.Users {
		fmt.Fprintf(&b, " user %d", u.ID)
	}
	return b.String()
}

// parseAbout reads what about wrote, as far as it can: whoever is root may have written something else.
func (s *Status) parseAbout(text string) {
	words := strings.Fields(text)
	for pair := range slices.Chunk(words, 2) {
		if len(pair) < 2 {
			return
		}
		n, err := strconv.ParseUint(pair[1], 10, 32)
		if err != nil {
			return
		}
		switch pair[0] {
		case "port":
			s.Port = uint16(n)
		case "serves":
			s.Serves = uint16(n)
		case "sidecar":
			s.Sidecar = &User{ID: uint32(n)}
		case "user":
			s.Users = append(s.Users, User{ID: uint32(n)})
		}
	}
}

// collides says why two captures cannot be beside each other.
func (s *Status) collides(r *Rules) error {
	if s.Service == r.Service {
		return nil // it is replaced
	}
	if s.Port == r.Port {
		return fmt.Errorf("service %s is captured to port %d already; each service needs a sidecar and a port of its own", s.Service, s.Port)
	}
	for _, u := range r.Users {
		if slices.ContainsFunc(s.Users, func(o User) bool { return o.ID == u.ID }) {
			return fmt.Errorf("user %s is captured as service %s already; give each service a user of its own", u, s.Service)
		}
	}
	if len(s.Users) == 0 || len(r.Users) == 0 {
		return fmt.Errorf("service %s is captured in this network namespace already, and of two services at least one would have all of it", s.Service)
	}
	return nil
}
