package drive

import (
	"encoding/json"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"sensorcast/auth"
)

// secrets is every secret that a client of this process was given or made up. Whatever a server says is searched for all of them when its
// test ends, also for those of other tests.
var secrets canaries

// tailBytes of a secret are searched for, its last ones: half a token is a leak too, and the beginnings of tokens are all the same.
// What is shorter is searched for as it is.
const (
	tailBytes = 16
	codeBytes = len("K7QP-4M2D-9XWA")
)

// canaries are strings that must not be found.
type canaries struct {
	mu    sync.Mutex
	tails map[string]string // guarded by mu, as is ends: the end of each, and what it is
	ends  [1 << 20]bool     // by what the last bytes of each come to, so that most places of a text need no other look
}

// secretFields are the names secrets have in the interface, alone or in lists.
var secretFields = []string{
	"password", "current_password", "new_password", "access_token", "refresh_token", "secret_key", "secret", "ticket", "token", "code", "invitation",
	"setup_token", "claim_code", "recovery_codes", "uri", "url",
}

// learn notes the secrets of a request or its answer, however deep in it.
func (c *canaries) learn(body []byte) {
	var value any
	if json.Unmarshal(body, &value) == nil { // or a payload that is meant to be broken
		c.find("", value)
	}
}

func (c *canaries) find(name string, value any) {
	switch v := value.(type) {
	case string:
		if slices.Contains(secretFields, name) && !strings.HasSuffix(v, "…") { // which stands for the secret in what is shown
			c.add(name, v)
		}
	case []any:
		for _, item := range v {
			c.find(name, item)
		}
	case map[string]any:
		for name, field := range v {
			c.find(name, field)
		}
	}
}

// add notes a secret. One too short to be told from other words is none: the tests have such only where they must be refused.
func (c *canaries) add(what, secret string) {
	if len(secret) < tailBytes && (what != "claim_code" || len(secret) < codeBytes) {
		return
	}
	tail := strings.Clone(secret[max(0, len(secret)-tailBytes):])
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tails == nil {
		c.tails = map[string]string{}
	}
	if _, known := c.tails[tail]; !known { // it is what it was first called
		c.tails[tail] = what
	}
	c.ends[ending(tail, len(tail))] = true
}

// ending is a number of 20 bits made of the four bytes before a place.
func ending(s string, at int) uint32 {
	n := uint32(s[at-1]) | uint32(s[at-2])<<8 | uint32(s[at-3])<<16 | uint32(s[at-4])<<24
	return n * 2654435761 >> 12 // Knuth's multiplicative hash
}

// in returns what of it the texts hold, each kind once.
func (c *canaries) in(texts ...string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := map[string]bool{}
	for _, s := range texts {
		for at := codeBytes; at <= len(s); at++ {
			if !c.ends[ending(s, at)] {
				continue
			}
			for _, size := range []int{codeBytes, codeBytes + 1, tailBytes} {
				if what, ok := c.tails[s[max(0, at-size):at]]; ok {
					found[what] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// kept are the kinds of secrets that the files of a server hold: all but its keys, which are apart, and which a backup leaves out. The server is
// not running any more, so what it wrote last is there too.
func (c *canaries) kept(t testing.TB, dir string) (leaks []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || entry.Name() == auth.KeyFile {
			return err
		}
		text, err := os.ReadFile(path)
		for _, what := range c.in(string(text)) {
			leaks = append(leaks, entry.Name()+" holds "+what)
		}
		return err
	})
	if err != nil {
		t.Errorf("read what the server kept: %v", err)
	}
	return leaks
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
	c.learn([]byte(`{"items":[{"row":1,"secret_key":"sdk_of-the-first-row"},{"claim_code":"K7QP-4M2D-9XWA"}],"recovery_codes":["abcd-efgh-ijkl-mnop"],"code":"123456"}`))
	for _, tc := range []struct {
		said string
		want []string
	}{
		{"", nil},
		{`{"msg":"session opened","who":"ann"}`, nil},
		{`{"msg":"refused","query":"ticket=` + other + `"}`, nil},
		{`{"msg":"refused","query":"ticket=` + token + `"}`, []string{"refresh_token"}},
		{token[len(token)-20:], []string{"refresh_token"}},
		{`{"row":"sdk_of-the-first-row"}`, []string{"secret_key"}},
		{"K7QP-4M2D-9XWA", []string{"claim_code"}},
		{"abcd-efgh-ijkl-mnop, 123456", []string{"recovery_codes"}},
		{"correct horse ann " + token + token, []string{"password", "refresh_token"}},
	} {
		if got := c.in("harmless", tc.said); !slices.Equal(got, tc.want) {
			t.Errorf("in %q: got %q, want %q", tc.said, got, tc.want)
		}
	}
}

// What a server kept is searched too, but for its keys.
func TestCanary_FindsWhatIsKept(t *testing.T) {
	dir := t.TempDir()
	var c canaries
	c.add("password", "correct horse battery")
	for name, text := range map[string]string{
		"sensorcast.db": "SQLite format 3\x00 hash of it", "sensorcast.db-wal": "\x37\x7f\x06\x82correct horse battery\x00\x00", auth.KeyFile: "correct horse battery",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := c.kept(t, dir), []string{"sensorcast.db-wal holds password"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
