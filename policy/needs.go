package policy

import (
	"math/bits"

	"github.com/cedar-policy/cedar-go"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"
)

// needs is the set of attributes of context and user that expressions read, so that a request builds no
// others. An attribute counts for both wherever it is read from: too much is harmless, too little is not.
type needs uint32

const (
	needTime needs = 1 << iota
	needHour
	needMinute
	needWeekday
	needIP
	needHost
	needPath
	needAuthenticated
	needACR
	needAMR
	needAuthAge
	needTLS
	needWorkload
	needParams
	needUser
	needProvider
	needIssuer
	needSubject
	needRoles
	needScopes
	needClaims
	needClientID
	needGroups // not an attribute: what the user is in
	needSignIn // not an attribute: reads something that signing in could change
	needAll    = 1<<iota - 1
)

// count is about how many attributes there are in the set.
func (n needs) count() int { return min(bits.OnesCount32(uint32(n)), 14) }

// needOf is the attribute of that name.
func needOf(name cedar.String) needs {
	switch name {
	case "time":
		return needTime
	case "hour":
		return needHour
	case "minute":
		return needMinute
	case "weekday":
		return needWeekday
	case "ip":
		return needIP
	case "host":
		return needHost
	case "path":
		return needPath
	case "authenticated":
		return needAuthenticated | needSignIn
	case "acr":
		return needACR | needSignIn
	case "amr":
		return needAMR | needSignIn
	case "auth_age":
		return needAuthAge | needSignIn
	case "tls_version":
		return needTLS
	case "workload":
		return needWorkload
	case "params":
		return needParams
	case "user":
		return needUser | needSignIn
	case "provider":
		return needProvider
	case "issuer":
		return needIssuer
	case "subject":
		return needSubject
	case "roles":
		return needRoles
	case "scopes":
		return needScopes
	case "claims":
		return needClaims
	case "client_id":
		return needClientID
	}
	return 0
}

// readOf is what reading an attribute of an expression needs. Only the context has a user; what else is named so, a
// path parameter maybe, tells nothing about who signed in.
func readOf(name cedar.String, of xast.IsNode) needs {
	if name == "user" && !isVariable(of, "context") {
		return 0
	}
	return needOf(name)
}

// needsOf collects what expressions read. A context that is used as a whole, not only by attribute, needs
// everything.
func needsOf(nodes []xast.IsNode) needs {
	var all needs
	for _, n := range nodes {
		xast.Inspect(xast.NewNode(n), func(n xast.IsNode) bool {
			switch n := n.(type) {
			case xast.NodeTypeAccess:
				all |= readOf(n.Value, n.Arg)
				return !isVariable(n.Arg, "context")
			case xast.NodeTypeHas:
				all |= readOf(n.Value, n.Arg)
				return !isVariable(n.Arg, "context")
			case xast.NodeTypeIn, xast.NodeTypeIsIn:
				all |= needGroups
			case xast.NodeTypeVariable:
				switch n.Name {
				case "context":
					all |= needAll
				case "principal":
					all |= needSignIn
				}
			}
			return true
		})
	}
	return all
}
