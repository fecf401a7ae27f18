package simulator

import (
	"fmt"
	"hash/fnv"
	"strings"
)

// Spec is one sensor of a fleet before it runs: who it is and what it measures.
type Spec struct {
	Serial  string
	Name    string // for people: "Room climate 3"
	Profile Profile
	Seed    uint64 // the sensor's own, made of the fleet's seed and the serial
	secret  string
}

// Plan returns the sensors a run of c would have, in order: what Provision has to make sure of. It is pure and gives the same
// answer each time. The error is that of Validate.
func (c Config) Plan() ([]Spec, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	return c.plan(), nil
}

func (c *Config) plan() []Spec {
	specs := make([]Spec, c.Sensors)
	for i := range specs {
		s := &specs[i]
		if len(c.Credentials) > 0 {
			s.Serial, s.secret = c.Credentials[i].Serial, c.Credentials[i].Secret
		} else {
			s.Serial = serialOf(c.Prefix, i+1, c.Sensors)
		}
		s.Profile, _ = profileNamed(c.Profiles[i%len(c.Profiles)])
		s.Name = fmt.Sprintf("%s %d", s.Profile.Title, i/len(c.Profiles)+1)
		s.Seed = seedOf(c.Seed, s.Serial)
	}
	return specs
}

// serialOf numbers sensor n of count with leading zeros, at least four digits, so that lists sort.
func serialOf(prefix string, n, count int) string {
	width := max(4, len(fmt.Sprint(count)))
	return fmt.Sprintf("%s%0*d", prefix, width, n)
}

// seedOf gives each serial its own stream, so that the order of a credentials file does not matter.
func seedOf(seed uint64, serial string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(serial)) // never fails
	return hash(seed, 0, h.Sum64())
}

func expand(template, serial string) string {
	return strings.ReplaceAll(template, "{serial}", serial)
}
