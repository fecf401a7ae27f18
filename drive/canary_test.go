package drive

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// secrets is every secret that a client of this process was given or made up. Whatever a server says is searched for all of them when its
// test ends, also for those of other tests.
var secrets canaries

// tailBytes of a secret are searched for, its last ones: half a token is a leak too, and the beginnings of tokens are all the same.
const tailBytes = 16

// canaries are strings that must not be found.
type canaries struct {
	mu    sync.Mutex
	tails map[string]string // guarded by mu: the end of each, and what it is
}

// secretFields are the names secrets have in the interface.
var secretFields = []string{
	"password", "current_password", "new_password", "access_token", "refresh_token", "secret_key", "secret", "ticket", "token", "code", "invitation",
}

// learn notes the secrets of a request or its answer.
func (c *canaries) learn(body []byte) {
	var fields map[string]any
	if json.Unmarshal(body, &fields) != nil {
		return // a list, or a payload that is meant to be broken
	}
	for _, name := range secretFields {
		if s, ok := fields[name].(string); ok {
			c.add(name, s)
		}
	}
}

// add notes a secret. One too short to be told from other words is none: the tests have such only where they must be refused.
func (c *canaries) add(what, secret string) {
	if len(secret) < tailBytes {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tails == nil {
		c.tails = map[string]string{}
	}
	c.tails[strings.Clone(secret[len(secret)-tailBytes:])] = what
}

// in returns what of it the texts hold, each kind once.
func (c *canaries) in(texts ...string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := map[string]bool{}
	for _, s := range texts {
		for i := 0; i+tailBytes <= len(s); i++ {
			if what, ok := c.tails[s[i:i+tailBytes]]; ok {
				found[what] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// inspect has the server tell all it tells of itself, to be searched for secrets. What a profile looks like depends on what goes on, so
// this is asked for while much does.
func (s *instance) inspect() {
	s.t.Helper()
	for _, page := range []string{
		"/metrics", "/debug/pprof/goroutine?debug=2", "/debug/pprof/heap?debug=1", "/debug/pprof/allocs?debug=1", "/debug/pprof/cmdline", "/debug/vars",
	} {
		resp, err := http.Get("http://" + s.addr["admin"] + page)
		if err != nil {
			s.t.Fatal(err)
		}
		_, err = io.Copy(&s.said, resp.Body)
		resp.Body.Close()
		if err != nil {
			s.t.Fatalf("read %s: %v", page, err)
		}
	}
}

func TestCanary_FindsWhatIsTold(t *testing.T) {
	const token, other = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI3In0.c2lnbmF0dXJlLW9mLWFubg", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI3In0.c2lnbmF0dXJlLW9mLWJvYg"
	var c canaries
	c.learn([]byte(`{"refresh_token":"` + token + `","user":{"name":"ann"}}`))
	c.learn([]byte(`{"login":"ann","password":"correct horse ann"}`))
	c.learn([]byte(`["no object"]`))
	for _, tc := range []struct {
		said string
		want []string
	}{
		{"", nil},
		{`{"msg":"session opened","who":"ann"}`, nil},
		{`{"msg":"refused","query":"ticket=` + other + `"}`, nil},
		{`{"msg":"refused","query":"ticket=` + token + `"}`, []string{"refresh_token"}},
		{token[len(token)-20:], []string{"refresh_token"}},
		{"correct horse ann " + token + token, []string{"password", "refresh_token"}},
	} {
		if got := c.in("harmless", tc.said); !slices.Equal(got, tc.want) {
			t.Errorf("in %q: got %q, want %q", tc.said, got, tc.want)
		}
	}
}
