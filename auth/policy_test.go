package auth_test

import (
	"strings"
	"testing"

	"sensorcast/auth"
	"sensorcast/auth/authtest"
	"sensorcast/telemetry"
)

// The identities of the policy tables. The owner has SN1 and SN2, the other person X1, the admin A1;
// SN1 is shared with the viewer and the manager.
var (
	owner    = auth.Principal{Kind: auth.Person, UserID: 1, Username: "owner", Role: auth.RoleUser, SessionID: "s1"}
	other    = auth.Principal{Kind: auth.Person, UserID: 2, Username: "other", Role: auth.RoleUser, SessionID: "s2"}
	admin    = auth.Principal{Kind: auth.Person, UserID: 3, Username: "admin", Role: auth.RoleAdmin, SessionID: "s3"}
	viewer   = auth.Principal{Kind: auth.Person, UserID: 4, Username: "viewer", Role: auth.RoleUser, SessionID: "s4"}
	manager  = auth.Principal{Kind: auth.Person, UserID: 5, Username: "manager", Role: auth.RoleUser, SessionID: "s5"}
	sensor   = auth.Principal{Kind: auth.Sensor, SensorID: 11, Serial: "SN1"}
	stranger = auth.Principal{Kind: auth.Sensor, SensorID: 21, Serial: "X1"}
	former   = auth.Principal{Kind: auth.Sensor, SensorID: 10, Serial: "SN1"} // was deleted; the serial has a new sensor
	nobody   = auth.Principal{}

	identities = []struct {
		letter byte
		auth.Principal
	}{{'o', owner}, {'p', other}, {'a', admin}, {'v', viewer}, {'m', manager}, {'s', sensor}, {'x', stranger}, {'f', former}, {'-', nobody}}
)

var sharesOfSN1 = []auth.Share{{UserID: 4, Access: auth.ViewerAccess}, {UserID: 5, Access: auth.ManagerAccess}}

func policyDirectory(t testing.TB) *auth.Directory {
	d := authtest.New(t, auth.Config{}).Directory
	d.Load([]auth.Device{
		{SensorID: 11, Serial: "SN1", OwnerID: 1, Shares: sharesOfSN1}, {SensorID: 12, Serial: "SN2", OwnerID: 1},
		{SensorID: 21, Serial: "X1", OwnerID: 2}, {SensorID: 31, Serial: "A1", OwnerID: 3},
	})
	return d
}

// allowed returns the letters of those for whom may says yes.
func allowed(may func(p auth.Principal) bool) string {
	var letters []byte
	for _, id := range identities {
		if may(id.Principal) {
			letters = append(letters, id.letter)
		}
	}
	return string(letters)
}

func TestAllowed_OwnerViewsAndManagesSensorPublishes(t *testing.T) {
	dev := auth.Device{SensorID: 11, Serial: "SN1", OwnerID: 1, Shares: sharesOfSN1}
	for action, want := range map[auth.Action]string{auth.View: "ovms", auth.Publish: "s", auth.Inspect: "om", auth.Manage: "om", auth.Own: "o", auth.Leave: "ovm", 0: "", 99: ""} {
		if got := allowed(func(p auth.Principal) bool { return auth.Allowed(p, action, dev) }); got != want {
			t.Errorf("action %d on SN1: got %q, want %q", action, got, want)
		}
	}
	if auth.Allowed(auth.Principal{Kind: auth.Sensor, SensorID: 11, Serial: "SN2"}, auth.Publish, dev) {
		t.Error("a sensor of another serial: got allowed, want refused")
	}
	// A device without an owner, and a principal without a number, belong to nobody.
	if auth.Allowed(auth.Principal{Kind: auth.Person}, auth.View, auth.Device{}) || auth.Allowed(auth.Principal{Kind: auth.Sensor}, auth.View, auth.Device{}) {
		t.Error("a principal without a number: got allowed, want refused")
	}
}

func TestDirectory_MaySubscribe(t *testing.T) {
	d := policyDirectory(t)
	for _, c := range []struct {
		filter string
		want   string // letters of those who may
	}{
		// Exact topics: who may view the sensor; alerts are for people.
		{"sensors/SN1/telemetry", "ovms"},
		{"sensors/SN1/telemetry/temperature", "ovms"},
		{"sensors/SN1/status", "ovms"},
		{"sensors/SN1/lwt", "ovms"},
		{"sensors/SN1/commands", "ovms"},
		{"sensors/SN1/commands/reply", "ovms"},
		{"alerts/SN1", "ovm"},
		{"sensors/SN2/telemetry", "o"},
		{"sensors/X1/telemetry", "px"},
		{"sensors/X1/commands", "px"},
		{"alerts/X1", "p"},
		{"sensors/A1/telemetry", "a"},
		{"alerts/A1", "a"},
		{"sensors/GONE/telemetry", ""},
		{"alerts/GONE", ""},
		{"sensors/sn1/telemetry", ""}, // case-sensitive
		// Exact, but no topic of the grammar.
		{"sensors", ""}, {"sensors/SN1", ""}, {"sensors/SN1/", ""}, {"sensors/SN1/other", ""}, {"/sensors/SN1/telemetry", ""},
		{"sensors//telemetry", ""}, {"sensors/SN1/telemetry/a/b", ""}, {"alerts/", ""}, {"alerts/SN1/x", ""}, {"home/kitchen", ""}, {"/", ""},
		// Wildcards beneath a named sensor.
		{"sensors/SN1/#", "ovms"},
		{"sensors/SN1/+", "ovms"},
		{"sensors/SN1/telemetry/+", "ovms"},
		{"sensors/SN1/telemetry/#", "ovms"},
		{"sensors/SN1/commands/#", "ovms"},
		{"sensors/X1/#", "px"},
		{"sensors/A1/#", "a"},
		{"sensors/GONE/#", ""},
		{"alerts/SN1/#", "ovm"},
		{"alerts/X1/+", "p"},
		// Wildcards at large: people's, narrowed at delivery.
		{"#", "opavm"}, {"+", "opavm"}, {"+/#", "opavm"}, {"+/+/telemetry", "opavm"}, {"+/SN1/telemetry", "opavm"}, {"+/X1/#", "opavm"},
		{"sensors/#", "opavm"}, {"sensors/+", "opavm"}, {"sensors/+/telemetry", "opavm"}, {"sensors/+/#", "opavm"}, {"sensors/+/telemetry/+", "opavm"},
		{"alerts/#", "opavm"}, {"alerts/+", "opavm"}, {"+/+", "opavm"}, {"home/#", "opavm"}, {"/#", "opavm"}, {"//+", "opavm"},
		// Shared subscriptions are what they share.
		{"$share/g/sensors/SN1/telemetry", "ovms"},
		{"$share/g/sensors/X1/telemetry", "px"},
		{"$share/g/sensors/SN1/#", "ovms"},
		{"$share/g/#", "opavm"},
		{"$share/g/sensors/+/telemetry", "opavm"},
		{"$share/g/alerts/SN1", "ovm"},
		{"$share/g/$SYS/#", "a"},
		{"$share/g/$share/h/#", ""}, {"$share/g/", ""}, {"$share/g", ""}, {"$share//#", ""}, {"$share", ""}, {"$share/", ""},
		{"$share/+/#", ""}, {"$share/#", ""}, {"$share/g#/a", ""}, {"$share/sensors/SN1/telemetry", ""},
		// What begins with $.
		{"$SYS/#", "a"}, {"$SYS", "a"}, {"$SYS/broker/version", "a"}, {"$SYS/+/uptime", "a"},
		{"$sys/#", ""}, {"$SYSTEM/#", ""}, {"$queue/#", ""}, {"$", ""}, {"$/#", ""}, {"$SHARE/g/sensors/SN1/telemetry", ""},
		// Ill-formed.
		{"", ""}, {"##", ""}, {"#/", ""}, {"#/a", ""}, {"sensors/#/telemetry", ""}, {"sensors/SN1#", ""}, {"sensors/SN1/tele#", ""},
		{"sensors/SN1/+a", ""}, {"a+/b", ""}, {"++", ""}, {"sensors/SN+/telemetry", ""}, {"a\x00b/#", ""}, {"\xff/#", ""},
		{strings.Repeat("a/", 32767) + "+", "opavm"}, {strings.Repeat("a/", 32767) + "++", ""}, {strings.Repeat("a/", 32768) + "#", ""},
	} {
		if got := allowed(func(p auth.Principal) bool { return d.MaySubscribe(p, c.filter) }); got != c.want {
			t.Errorf("MaySubscribe(%.60q): got %q, want %q", c.filter, got, c.want)
		}
	}
}

func TestDirectory_MayPublishAndMayReceive(t *testing.T) {
	d := policyDirectory(t)
	for _, c := range []struct {
		topic            string
		publish, receive string
	}{
		{"sensors/SN1/telemetry", "s", "ovms"},
		{"sensors/SN1/telemetry/temperature", "s", "ovms"},
		{"sensors/SN1/lwt", "s", "ovms"},
		{"sensors/SN1/commands/reply", "s", "ovms"},
		{"sensors/SN1/status", "", "ovms"},
		{"sensors/SN1/commands", "", "ovms"},
		{"alerts/SN1", "", "ovm"},
		{"sensors/X1/telemetry", "x", "px"},
		{"alerts/X1", "", "p"},
		{"sensors/A1/telemetry", "", "a"},
		{"sensors/GONE/telemetry", "", ""},
		{"sensors/SN1/other", "", ""},
		{"sensors/SN1/telemetry/a/b", "", ""},
		{"sensors/+/telemetry", "", ""},
		{"#", "", ""},
		{"home/kitchen", "", ""},
		{"", "", ""},
		{"$SYS/broker/uptime", "", "a"},
		{"$sys/broker/uptime", "", ""},
		{"$share/g/sensors/SN1/telemetry", "", ""},
	} {
		publish := allowed(func(p auth.Principal) bool { return d.MayPublish(p, telemetry.ParseTopic(c.topic)) })
		receive := allowed(func(p auth.Principal) bool { return d.MayReceive(p, c.topic) })
		if publish != c.publish || receive != c.receive {
			t.Errorf("%q: got publish %q, receive %q, want %q, %q", c.topic, publish, receive, c.publish, c.receive)
		}
	}
}

// A message of the sensor that had the serial before is nobody's.
func TestDirectory_MayReceiveOf(t *testing.T) {
	d := policyDirectory(t)
	dev, _ := d.Lookup("SN1")
	for sensorID, want := range map[int64]string{0: "ovms", dev.SensorID: "ovms", dev.SensorID + 100: ""} {
		if got := allowed(func(p auth.Principal) bool { return d.MayReceiveOf(p, "sensors/SN1/telemetry", sensorID) }); got != want {
			t.Errorf("of sensor %d: got %q, want %q", sensorID, got, want)
		}
	}
}

func TestAccess_NamesAreReadBack(t *testing.T) {
	for _, a := range []auth.Access{auth.NoAccess, auth.ViewerAccess, auth.ManagerAccess, auth.OwnerAccess} {
		if got := auth.AccessNamed(a.String()); got != a {
			t.Errorf("%q: got %v, want %v", a.String(), got, a)
		}
	}
	for _, name := range []string{"Viewer", "admin", "owner "} {
		if got := auth.AccessNamed(name); got != auth.NoAccess {
			t.Errorf("%q: got %v, want none", name, got)
		}
	}
}

func TestDirectory_PolicyFollowsOwnershipAtOnce(t *testing.T) {
	d := policyDirectory(t)
	d.Put(auth.Device{SensorID: 11, Serial: "SN1", OwnerID: 2})
	if d.MayReceive(owner, "sensors/SN1/telemetry") || !d.MayReceive(other, "sensors/SN1/telemetry") {
		t.Error("after a transfer: got the old owner, want the new one only")
	}
	d.Remove("SN1")
	if got := allowed(func(p auth.Principal) bool { return d.MayReceive(p, "sensors/SN1/telemetry") }); got != "" {
		t.Errorf("after removal: got %q, want nobody", got)
	}
}

// FuzzMaySubscribe: a filter is never granted for a sensor it names and the principal may not view, and no filter makes the policy panic.
func FuzzMaySubscribe(f *testing.F) {
	for _, seed := range []string{"sensors/SN1/#", "$share/g/sensors/X1/telemetry", "#", "$SYS/#", "alerts/+", "sensors/+/telemetry", "a/\x00"} {
		f.Add(seed)
	}
	d := policyDirectory(f)
	f.Fuzz(func(t *testing.T, filter string) {
		if d.MaySubscribe(nobody, filter) || d.MaySubscribe(former, filter) {
			t.Errorf("%q: granted to nobody or a deleted sensor", filter)
		}
		if d.MaySubscribe(sensor, filter) && !strings.Contains(filter, "sensors/SN1/") {
			t.Errorf("%q: granted to a sensor whose topics it does not name", filter)
		}
		foreign := strings.HasPrefix(filter, "sensors/X1/") || strings.HasPrefix(filter, "alerts/X1") || strings.HasPrefix(filter, "$SYS")
		if foreign && d.MaySubscribe(owner, filter) {
			t.Errorf("%q: granted to who may not view it", filter)
		}
	})
}

func BenchmarkDirectory_MayReceive(b *testing.B) {
	d := policyDirectory(b)
	b.ReportAllocs()
	for b.Loop() {
		if !d.MayReceive(owner, "sensors/SN1/telemetry") {
			b.Fatal("refused")
		}
	}
}

func BenchmarkDirectory_MayReceiveParallel(b *testing.B) {
	d := policyDirectory(b)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			d.MayReceive(owner, "sensors/SN1/telemetry")
		}
	})
}

func TestDirectory_PerDeliveryQuestionsAllocateNothing(t *testing.T) {
	d := policyDirectory(t)
	got := testing.AllocsPerRun(1000, func() {
		d.Lookup("SN1")
		d.MayReceive(owner, "sensors/SN1/telemetry/temperature")
		d.MayReceive(other, "sensors/SN1/telemetry")
	})
	if got != 0 {
		t.Errorf("allocations per delivery: got %v, want 0", got)
	}
}
