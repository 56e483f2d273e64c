package openapi

import "strconv"

// array judges an array and its items.
func (c *checker) array(n *node, i uint32, seen *evaluated) bool {
	t := c.tape[i]
	ok, count := true, uint64(t.count)
	if count < n.minItems {
		ok = c.fail("minItems", "expected at least "+strconv.FormatUint(n.minItems, 10)+" items")
	}
	if n.maxItems != nil && count > *n.maxItems {
		return c.fail("maxItems", "expected at most "+strconv.FormatUint(*n.maxItems, 10)+" items")
	}
	if n.unique && t.count > 1 && !c.uniqueItems(i) {
		ok = c.fail("uniqueItems", "expected no item twice")
	}
	if n.items == nil && len(n.prefix) == 0 && n.contains == nil || !ok && c.enough() {
		return ok
	}
	index, contained := 0, uint64(0)
	for k := i + 1; k < t.next; k, index = c.tape[k].next, index+1 {
		sub, judged := n.items, n.items != nil
		if index < len(n.prefix) {
			sub, judged = n.prefix[index], true
		}
		if judged {
			seen.mark(k)
			if !c.below(sub, k, step{index: index}) {
				if ok = false; c.enough() {
					return false
				}
			}
		}
		if n.contains != nil && c.silently(n.contains, k, nil) {
			seen.mark(k)
			contained++
		}
	}
	if n.contains != nil && (contained < n.minContains || n.maxContains != nil && contained > *n.maxContains) {
		ok = c.fail("contains", "the number of items of the expected kind does not fit")
	}
	return ok
}

// object judges an object and its members.
func (c *checker) object(n *node, i uint32, seen *evaluated) bool {
	t := c.tape[i]
	ok, count := true, uint64(t.count)
	if count < n.minProps {
		ok = c.fail("minProperties", "expected at least "+strconv.FormatUint(n.minProps, 10)+" properties")
	}
	if n.maxProps != nil && count > *n.maxProps {
		ok = c.fail("maxProperties", "expected at most "+strconv.FormatUint(*n.maxProps, 10)+" properties")
	}
	for _, name := range n.required {
		if !c.hasKey(i, name) {
			ok = c.failAt(name, "required", "this property is missing")
		}
	}
	if len(n.dependent) > 0 || len(n.dependentSchemas) > 0 {
		ok = c.dependents(n, i, seen) && ok
	}
	if n.properties == nil && n.patterns == nil && n.additional == nil && n.names == nil || !ok && c.enough() {
		return ok
	}
	for k := i + 1; k < t.next; k = c.tape[k+1].next {
		if !c.member(n, k, seen) {
			if ok = false; c.enough() {
				return false
			}
		}
	}
	return ok
}

// member judges the key at k and the value that follows it.
func (c *checker) member(n *node, k uint32, seen *evaluated) bool {
	name := c.bytes(k)
	ok, declared := true, false
	if sub, found := n.properties[string(name)]; found {
		declared = true
		if sub != nil && sub.readOnly {
			ok = c.failAt(string(name), "readOnly", "this property is read-only and must not be sent")
		} else {
			ok = c.below(sub, k+1, step{key: k})
		}
	}
	for _, p := range n.patterns {
		c.budget -= len(name) / 32
		if p.re.Match(name) {
			declared = true
			ok = c.below(p.node, k+1, step{index: -1}) && ok
		}
	}
	if !declared && n.additional != nil {
		declared = true
		if n.additional.never {
			ok = c.undeclared(k, "additionalProperties")
		} else {
			ok = c.below(n.additional, k+1, step{index: -1}) && ok
		}
	}
	if declared {
		seen.mark(k)
	}
	if n.names != nil && !c.silently(n.names, k, nil) {
		ok = c.fail("propertyNames", "the name of a property does not match")
	}
	return ok
}

func (c *checker) hasKey(i uint32, name string) bool {
	for k := i + 1; k < c.tape[i].next; k = c.tape[k+1].next {
		c.budget--
		if string(c.bytes(k)) == name {
			return true
		}
	}
	return false
}

func (c *checker) dependents(n *node, i uint32, seen *evaluated) bool {
	ok := true
	for name, needs := range n.dependent {
		if !c.hasKey(i, name) {
			continue
		}
		for _, need := range needs {
			if !c.hasKey(i, need) {
				ok = c.failAt(need, "dependentRequired", "this property is missing")
			}
		}
	}
	for name, sub := range n.dependentSchemas {
		if c.hasKey(i, name) {
			ok = c.check(sub, i, seen) && ok
		}
	}
	return ok
}
