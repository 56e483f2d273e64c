package attest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Workload is what a process must be to count as a service: all selectors must be proven.
type Workload []Selector

// Refusal says why a caller is no service. Its text names what was proven and is for operators, not for the
// caller.
type Refusal struct {
	Proven   []Selector
	Services []string // those that match; empty: none does, otherwise more than one
}

func (r *Refusal) Error() string {
	proven := make([]string, len(r.Proven))
	for i, s := range r.Proven {
		proven[i] = s.String()
	}
	if len(r.Services) == 0 {
		return fmt.Sprintf("no service matches [%s]", strings.Join(proven, " "))
	}
	return fmt.Sprintf("ambiguous: services %s match [%s]", strings.Join(r.Services, ", "), strings.Join(proven, " "))
}

// Matcher decides which service a caller is. It is immutable and safe for concurrent use.
type Matcher struct {
	byFirst map[Selector][]candidate
	needs   map[Kind]bool
}

type candidate struct {
	service string
	rest    []Selector
}

// precise orders kinds by how few callers share one, so that a lookup meets few candidates.
var precise = []Kind{
	X509Fingerprint, UnixSHA256, JoinName, X509DNS, ContainerImage, UnixPath, ContainerLabel,
	KubernetesServiceAccount, UnixUser, UnixUID, KubernetesNamespace,
}

// NewMatcher compiles the workloads of every service. A workload without selectors would be anyone and is an
// error; a service without workloads is allowed and matches nobody.
func NewMatcher(services map[string][]Workload) (*Matcher, error) {
	m := &Matcher{byFirst: map[Selector][]candidate{}, needs: map[Kind]bool{}}
	for _, service := range slices.Sorted(maps.Keys(services)) {
		for i, workload := range services[service] {
			if len(workload) == 0 {
				return nil, fmt.Errorf("service %q: workload %d has no selectors and would be anyone", service, i+1)
			}
			for _, s := range workload {
				if err := s.check(); err != nil {
					return nil, fmt.Errorf("service %q: workload %d: selector %q: %w", service, i+1, s, err)
				}
				m.needs[s.Kind] = true
			}
			ordered := slices.SortedStableFunc(slices.Values(workload), func(a, b Selector) int {
				return slices.Index(precise, a.Kind) - slices.Index(precise, b.Kind)
			})
			m.byFirst[ordered[0]] = append(m.byFirst[ordered[0]], candidate{service, ordered[1:]})
		}
	}
	return m, nil
}

// Needs tells whether any workload asks for a selector of one of the kinds. What no workload asks for need not
// be found out; what one asks for must be, or the decision is not the right one.
func (m *Matcher) Needs(kinds ...Kind) bool {
	return slices.ContainsFunc(kinds, func(k Kind) bool { return m.needs[k] })
}

// Match returns the one service whose workload is proven, or a *Refusal.
func (m *Matcher) Match(proven []Selector) (string, error) {
	var found []string
	for _, first := range proven {
		for _, c := range m.byFirst[first] {
			all := !slices.ContainsFunc(c.rest, func(s Selector) bool { return !slices.Contains(proven, s) })
			if all && !slices.Contains(found, c.service) {
				found = append(found, c.service)
			}
		}
	}
	if len(found) != 1 {
		slices.Sort(found)
		return "", &Refusal{Proven: proven, Services: found}
	}
	return found[0], nil
}
