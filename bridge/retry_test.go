package bridge

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestRetryAfter_FitsACloseFrameAndIsSpread(t *testing.T) {
	hint := regexp.MustCompile(`^x+, retry after (\d+) ms$`)
	seen := map[string]bool{}
	for range 200 {
		reason := retryAfter(strings.Repeat("x", 90), 30*time.Minute)
		found := hint.FindStringSubmatch(reason)
		if found == nil || len(reason) > maxControlBytes-2 {
			t.Fatalf("got %q of %d bytes, want a hint within %d", reason, len(reason), maxControlBytes-2)
		}
		seen[found[1]] = true
	}
	if len(seen) < 100 {
		t.Errorf("200 hints: got %d different ones", len(seen))
	}
	if got := spreadOver(5000); got != 2500*time.Millisecond {
		t.Errorf("5,000 viewers: got %v, want 2.5 s", got)
	}
}
