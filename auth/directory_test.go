package auth_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sensorcast/auth"
	"sensorcast/auth/authtest"
	"sensorcast/telemetry"
)

func TestDirectory_AuthenticatesBySecret(t *testing.T) {
	d := authtest.New(t, auth.Config{}).Directory
	secret := auth.NewDeviceSecret()
	d.Put(auth.Device{SensorID: 7, Serial: "SN7", OwnerID: 1, Secrets: []auth.Secret{{Hash: d.HashSecret(secret)}}})
	d.Put(auth.Device{SensorID: 8, Serial: "SN8", OwnerID: 1}) // has no secret at all

	p, err := d.Authenticate("SN7", secret)
	if err != nil || p.Kind != auth.Sensor || p.SensorID != 7 || p.Serial != "SN7" || p.Scope() != "s7" {
		t.Errorf("right secret: got %+v, %v, want sensor 7", p, err)
	}
	var texts []string
	for _, c := range []struct{ serial, secret string }{
		{"SN7", ""}, {"SN7", secret[:len(secret)-1]}, {"SN7", secret + "x"}, {"SN7", strings.ToUpper(secret)}, {"SN7", strings.Repeat("x", 70000)},
		{"SN8", ""}, {"SN8", secret}, {"sn7", secret}, {"", secret}, {"GONE", secret}, {"GONE", ""}, {"", ""},
	} {
		p, err := d.Authenticate(c.serial, c.secret)
		if !errors.Is(err, telemetry.ErrUnauthenticated) || p != (auth.Principal{}) {
			t.Errorf("Authenticate(%q, %.10q): got %+v, %v, want ErrUnauthenticated", c.serial, c.secret, p, err)
			continue
		}
		texts = append(texts, err.Error())
	}
	if texts = slices.Compact(texts); len(texts) != 1 {
		t.Errorf("refusals: got %d different texts %q, want one", len(texts), texts)
	}
}

func TestDirectory_OldSecretEndsWithItsGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := authtest.New(t, auth.Config{})
		d := f.Directory
		d.Put(auth.Device{SensorID: 7, Serial: "SN7", Secrets: []auth.Secret{
			{Hash: d.HashSecret("the-new-secret-16")},
			{Hash: d.HashSecret("the-old-secret-16"), ValidUntil: telemetry.Now().Add(time.Minute)},
		}})
		old, err := d.Authenticate("SN7", "the-old-secret-16")
		if err != nil || !f.Service.Live(old) {
			t.Errorf("old secret in its grace: got %v, live %v, want nil, true", err, f.Service.Live(old))
		}
		time.Sleep(time.Minute)
		if _, err := d.Authenticate("SN7", "the-old-secret-16"); !errors.Is(err, telemetry.ErrUnauthenticated) {
			t.Errorf("old secret after its grace: got %v, want ErrUnauthenticated", err)
		}
		if f.Service.Live(old) {
			t.Error("connection of the old secret after its grace: got live, want not")
		}
		if p, err := d.Authenticate("SN7", "the-new-secret-16"); err != nil || !f.Service.Live(p) {
			t.Errorf("new secret: got %v, want nil", err)
		}
	})
}

func TestService_LiveNoticesRotatedSecretAndReplacedSensor(t *testing.T) {
	f := authtest.New(t, auth.Config{})
	d := f.Directory
	dev := auth.Device{SensorID: 7, Serial: "SN7", Secrets: []auth.Secret{{Hash: d.HashSecret("secret-number-one")}}}
	d.Put(dev)
	p, err := d.Authenticate("SN7", "secret-number-one")
	if err != nil || !f.Service.Live(p) {
		t.Fatalf("before: got %v, live %v, want nil, true", err, f.Service.Live(p))
	}
	again := dev
	again.SensorID = 8 // deleted and registered anew, even with the same secret
	d.Put(again)
	if f.Service.Live(p) {
		t.Error("after the sensor was replaced: got live, want not")
	}
	dev.Secrets = []auth.Secret{{Hash: d.HashSecret("secret-number-two")}}
	d.Put(dev)
	if f.Service.Live(p) {
		t.Error("after rotation without grace: got live, want not")
	}
	d.Remove("SN7")
	if f.Service.Live(p) {
		t.Error("after removal: got live, want not")
	}
}

func TestDirectory_SerialsOf(t *testing.T) {
	d := policyDirectory(t)
	for _, c := range []struct {
		p    auth.Principal
		want []string
	}{
		{owner, []string{"SN1", "SN2"}}, {other, []string{"X1"}}, {admin, []string{"A1"}},
		{viewer, []string{"SN1"}}, {manager, []string{"SN1"}}, {sensor, []string{"SN1"}}, {former, nil}, {nobody, nil},
	} {
		if got := d.SerialsOf(c.p); !slices.Equal(got, c.want) {
			t.Errorf("SerialsOf(%+v): got %v, want %v", c.p, got, c.want)
		}
	}
}

// TestDirectory_IndexAgreesWithDevices drives random changes and compares with a plain map.
func TestDirectory_IndexAgreesWithDevices(t *testing.T) {
	d := authtest.New(t, auth.Config{}).Directory
	want := make(map[string]auth.Device)
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		serial := fmt.Sprint("SN", r.IntN(60))
		if r.IntN(3) == 0 {
			d.Remove(serial)
			delete(want, serial)
			continue
		}
		dev := auth.Device{SensorID: 1, Serial: serial, OwnerID: 1 + r.Int64N(4)}
		for range r.IntN(4) {
			dev.Shares = dev.SharedWith(1+r.Int64N(6), auth.Access(r.IntN(3)))
		}
		d.Put(dev)
		want[serial] = dev
	}
	if d.Len() != len(want) {
		t.Errorf("Len: got %d, want %d", d.Len(), len(want))
	}
	for userID := int64(1); userID <= 6; userID++ {
		var mine []string
		for serial, dev := range want {
			if dev.OwnerID == userID || slices.ContainsFunc(dev.Shares, func(s auth.Share) bool { return s.UserID == userID }) {
				mine = append(mine, serial)
			}
		}
		slices.Sort(mine)
		if got := d.SerialsOf(auth.Principal{Kind: auth.Person, UserID: userID}); !slices.Equal(got, mine) {
			t.Errorf("SerialsOf(%d): got %v, want %v", userID, got, mine)
		}
	}
}

func TestDevice_SharedWith(t *testing.T) {
	var dev auth.Device
	for _, step := range []struct {
		userID int64
		access auth.Access
		want   string
	}{
		{7, auth.ViewerAccess, "[{7 viewer}]"},
		{3, auth.ManagerAccess, "[{3 manager} {7 viewer}]"},
		{7, auth.ManagerAccess, "[{3 manager} {7 manager}]"},
		{5, auth.NoAccess, "[{3 manager} {7 manager}]"},
		{3, auth.NoAccess, "[{7 manager}]"},
		{7, auth.NoAccess, "[]"},
	} {
		before := fmt.Sprint(dev.Shares)
		shares := dev.SharedWith(step.userID, step.access)
		if got := fmt.Sprint(dev.Shares); got != before {
			t.Errorf("SharedWith(%d, %v) changed the device: got %s, want %s", step.userID, step.access, got, before)
		}
		if dev.Shares = shares; fmt.Sprint(shares) != step.want {
			t.Errorf("SharedWith(%d, %v): got %v, want %s", step.userID, step.access, shares, step.want)
		}
	}
}

// Whoever keeps an answer of the policy goes by the generation: a change that left it alone would leave a lost permission in force.
func TestDirectory_EveryChangeIsANewGeneration(t *testing.T) {
	d := authtest.New(t, auth.Config{}).Directory
	dev := auth.Device{SensorID: 1, Serial: "SN1", OwnerID: 1}
	seen := map[uint64]string{0: "nothing", d.Generation(): "new"}
	for _, step := range []struct {
		name   string
		change func()
	}{
		{"put", func() { d.Put(dev) }},
		{"replace", func() { d.Put(dev) }},
		{"remove", func() { d.Remove("SN1") }},
		{"load", func() { d.Load([]auth.Device{dev}) }},
	} {
		step.change()
		now := d.Generation()
		if before, ok := seen[now]; ok {
			t.Errorf("after %s: got generation %d, which was that of %q", step.name, now, before)
		}
		seen[now] = step.name
	}
}

func TestDirectory_IsSafeForConcurrentUse(t *testing.T) {
	d := policyDirectory(t)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 500 {
				serial := fmt.Sprint("C", (i+j)%7)
				d.Put(auth.Device{SensorID: 99, Serial: serial, OwnerID: 1, Secrets: []auth.Secret{{}}})
				d.SerialsOf(owner)
				d.Authenticate(serial, "x")
				d.MaySubscribe(owner, "sensors/"+serial+"/#")
				d.Remove(serial)
			}
		})
	}
	wg.Wait()
	if got := d.SerialsOf(owner); !slices.Equal(got, []string{"SN1", "SN2"}) {
		t.Errorf("afterwards: got %v, want SN1 and SN2", got)
	}
}

func TestNewDeviceSecret(t *testing.T) {
	seen := make(map[string]bool)
	for range 1000 {
		s := auth.NewDeviceSecret()
		if len(s) != 47 || !strings.HasPrefix(s, "sdk_") || auth.CheckDeviceSecret(s) != nil || seen[s] {
			t.Fatalf("got %q (seen before: %v), want sdk_ and 43 characters, new each time", s, seen[s])
		}
		seen[s] = true
	}
}

func TestCheckDeviceSecret(t *testing.T) {
	for s, ok := range map[string]bool{
		"": false, "short": false, "fifteen-letters": false, "sixteen-letters!": true, strings.Repeat("a", 16): false,
		strings.Repeat("ab", 64): true, strings.Repeat("ab", 64) + "a": false,
		"with a space in it": false, "tabulator\tinside": false, "nul\x00nul\x00nul\x00nul\x00": false, "ümlaute-sind-schlecht": false, "del\x7fdel\x7fdel\x7fdel\x7f": false,
	} {
		err := auth.CheckDeviceSecret(s)
		if (err == nil) != ok {
			t.Errorf("CheckDeviceSecret(%q): got %v, want ok %v", s, err, ok)
		}
		if fe, named := errors.AsType[*telemetry.FieldError](err); err != nil && (!named || fe.Field != "secret_key") {
			t.Errorf("CheckDeviceSecret(%q): got %v, want an error that names secret_key", s, err)
		}
	}
}

// FuzzDirectory_Authenticate: no serial and secret but the right ones are accepted, and none makes it panic.
func FuzzDirectory_Authenticate(f *testing.F) {
	d := authtest.New(f, auth.Config{}).Directory
	const serial, secret = "SN7", "sdk_a-secret-that-nobody-guesses"
	d.Put(auth.Device{SensorID: 7, Serial: serial, Secrets: []auth.Secret{{Hash: d.HashSecret(secret)}}})
	f.Add(serial, secret)
	f.Add(serial, secret+"\x00")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, s, k string) {
		p, err := d.Authenticate(s, k)
		if right := s == serial && k == secret; (err == nil) != right || (p.SensorID == 7) != right {
			t.Errorf("Authenticate(%q, %q): got %+v, %v", s, k, p, err)
		}
	})
}

func million(d *auth.Directory) []auth.Device {
	all := make([]auth.Device, 1_000_000)
	for i := range all {
		all[i] = auth.Device{
			SensorID: int64(i + 1), Serial: fmt.Sprintf("SN-%012d", i), OwnerID: int64(i % 1000),
			Secrets: []auth.Secret{{Hash: [32]byte{byte(i), byte(i >> 8), byte(i >> 16), 1}}},
		}
	}
	return all
}

// BenchmarkDirectory_LoadMillion reports the time and what a million sensors hold, their serials and secrets included.
func BenchmarkDirectory_LoadMillion(b *testing.B) {
	d := authtest.New(b, auth.Config{}).Directory
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	all := million(d)
	for b.Loop() {
		d.Load(all)
	}
	all = nil
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "MB-held")
	runtime.KeepAlive(d)
}

func BenchmarkDirectory_Authenticate(b *testing.B) {
	d := authtest.New(b, auth.Config{}).Directory
	secret := auth.NewDeviceSecret()
	d.Put(auth.Device{SensorID: 7, Serial: "SN7", Secrets: []auth.Secret{{Hash: d.HashSecret(secret)}}})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Authenticate("SN7", secret); err != nil {
			b.Fatal(err)
		}
	}
}
