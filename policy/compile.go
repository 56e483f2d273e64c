package policy

import (
	"cmp"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"

	"github.com/palisade-security/palisade/model"
)

// compiler gathers rules and findings on the way from a snapshot to a Set.
type compiler struct {
	snap      *model.Snapshot
	all       []declared // every route that is decided about
	methods   []string
	claims    map[string]string
	roles     map[string][]cedar.EntityUID
	services  map[string]bool
	routes    map[string]*model.ResolvedRoute
	providers map[string]bool
	schema    string
	validator *validate.Validator // nil: the schema could not be made
	entities  cedar.EntityMap
	rules     []*rule
	byID      map[string]*rule
	findings  []model.Finding
	routed    map[string]*routeCells
	index     *index
	common    []*rule    // that hold on every route
	scope     []coverage // by order of rule
}

func newCompiler(snap *model.Snapshot) *compiler {
	c := &compiler{
		snap: snap, all: routesOf(snap), claims: map[string]string{}, roles: map[string][]cedar.EntityUID{},
		services: map[string]bool{}, routes: map[string]*model.ResolvedRoute{}, providers: map[string]bool{},
		byID: map[string]*rule{},
	}
	c.methods = methodsOf(c.all)
	for i := range snap.Roles {
		role := &snap.Roles[i]
		uids := []cedar.EntityUID{roleUID(role.Name)}
		for _, name := range role.Includes {
			if name != role.Name {
				uids = append(uids, roleUID(name))
			}
		}
		c.roles[role.Name] = uids
	}
	for i := range snap.Services {
		c.services[snap.Services[i].Name] = true
	}
	for _, r := range c.all {
		c.routes[r.ID] = r.ResolvedRoute
	}
	c.collectClaims()
	c.entities = staticEntities(snap, c.all, c.methods)
	c.makeSchema()
	return c
}

// meshed tells whether services have identities, so that they can be principals.
func (c *compiler) meshed() bool { return c.snap.Mesh != nil }

// sliced tells whether the snapshot is one proxy's slice. Its policies were checked against the whole fleet and may
// name what the slice does not hold, which then matches nothing.
func (c *compiler) sliced() bool { return c.snap.Self != "" }

// collectClaims merges the claims of all providers. Policies see one record, so one name has one type.
func (c *compiler) collectClaims() {
	by := map[string]string{}
	for i := range c.snap.Providers {
		p := &c.snap.Providers[i]
		c.providers[p.Name] = true
		if strings.Contains(p.Name, "|") {
			c.find(model.Finding{
				Severity: model.Error, Code: "provider-name", Key: "providers." + p.Name,
				Text: "a provider's name must not contain |, which separates it from the subject in User::\"<provider>|<subject>\"",
			})
		}
		for name, kind := range p.Claims {
			if old, ok := c.claims[name]; ok && old != kind {
				c.find(model.Finding{
					Severity: model.Error, Code: "claim-type", Key: "providers." + p.Name + ".claims." + name,
					Text: "claim " + quote(name) + " is declared as " + kind + " here and as " + old +
						" by provider " + quote(by[name]) + "; policies see one type",
				})
				continue
			}
			c.claims[name], by[name] = kind, p.Name
		}
	}
}

// makeSchema generates the schema and the validator for it. The schema comes from names of the model only, so
// a failure is a name that Cedar cannot hold.
func (c *compiler) makeSchema() {
	c.schema = schemaText(c.claims, paramsOf(c.all), c.methods, c.meshed())
	var s schema.Schema
	s.SetFilename("schema.cedarschema")
	err := s.UnmarshalCedar([]byte(c.schema))
	if err == nil {
		var resolved *resolved.Schema
		if resolved, err = s.Resolve(); err == nil {
			c.validator = validate.New(resolved, validate.WithStrict())
			return
		}
	}
	c.find(model.Finding{
		Severity: model.Error, Code: "policy-schema",
		Text: "no Cedar schema can be made of this model: " + err.Error(),
	})
}

// set builds the Set once nothing is wrong.
func (c *compiler) set() *Set {
	return &Set{
		schema: c.schema, rules: c.rules, byID: c.byID, routes: c.routed, roles: c.roles,
		claims: c.claims, entities: c.entities, common: c.common, meshed: c.meshed(),
	}
}

func (c *compiler) find(f model.Finding) { c.findings = append(c.findings, f) }

// compareFindings orders by place, errors first.
func compareFindings(a, b model.Finding) int {
	return cmp.Or(
		strings.Compare(a.Position.File, b.Position.File),
		cmp.Compare(a.Position.Line, b.Position.Line),
		cmp.Compare(a.Position.Column, b.Position.Column),
		strings.Compare(string(a.Severity), string(b.Severity)),
	)
}
