package model

// exports resolves where events go.
func (c *compiler) exports() []ResolvedExport {
	var out []ResolvedExport
	for _, name := range sortedKeys(c.Fleet.Export) {
		e, key := c.Fleet.Export[name], join("export", name)
		e.Password, e.Token = c.reference(key+".password", e.Password), c.reference(key+".token", e.Token)
		if len(e.Headers) > 0 {
			headers := make(map[string]Value, len(e.Headers))
			for _, header := range sortedKeys(e.Headers) {
				headers[header] = c.value(join(key+".headers", header), e.Headers[header])
			}
			e.Headers = headers
		}
		e.CA = c.present(key+".ca", e.CA)
		if e.Certificate != nil {
			e.Certificate = &Certificate{Cert: c.present(key+".certificate.cert", e.Certificate.Cert), Key: c.present(key+".certificate.key", e.Certificate.Key)}
		}
		out = append(out, ResolvedExport{Name: name, Export: e, Position: c.at(key)})
	}
	return out
}

// reference is value for a key that may be left out.
func (c *compiler) reference(key string, v Value) Value {
	if v == (Value{}) {
		return v
	}
	return c.value(key, v)
}

// present makes a path absolute and makes sure that there is a file.
func (c *compiler) present(key, path string) string {
	absolute := c.absolute(key, path)
	if path == "" || c.options.Elsewhere {
		return absolute
	}
	if _, err := readBounded(absolute, maxSecret); err != nil {
		c.report(Error, "unreadable-file", key, unreadable(path, err), "")
	}
	return absolute
}
