package waf

import (
	"github.com/corazawaf/coraza/v3/types"
)

const maxKey = 64

// target names where the rule matched: the first variable that a reader can find in the request. A key comes
// from the client, and a body sent under the wrong content type can turn up whole as one, so that only short
// and plain keys are named; any other is "?".
func target(data []types.MatchData) string {
	for _, d := range data {
		name := d.Variable().Name()
		if name == "TX" || name == "UNKNOWN" {
			continue
		}
		switch key := d.Key(); {
		case key == "":
			return name
		case plain(key):
			return name + ":" + key
		default:
			return name + ":?"
		}
	}
	return ""
}

func plain(key string) bool {
	if len(key) > maxKey {
		return false
	}
	for i := range len(key) {
		c := key[i]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		digit := c >= '0' && c <= '9'
		if !letter && !digit && c != '_' && c != '-' && c != '.' && c != '[' && c != ']' {
			return false
		}
	}
	return true
}
