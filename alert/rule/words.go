package rule

import (
	"fmt"
	"strconv"

	"sensorcast/telemetry"
)

// Message says what is wrong, beginning with what the rule is called: "Too hot: temperature is 31.2, above 30 for 5 minutes".
func Message(r *telemetry.Rule, value float64) string {
	text := r.Name + ": its condition holds"
	if r.Expression == "" {
		text = fmt.Sprintf("%s: %s is %s", r.Name, r.Metric, number64(value))
		if r.Op != "==" {
			text += ", " + words[r.Op] + " " + number64(*r.Value)
		}
	}
	if r.For > 0 {
		text += " for " + telemetry.InWords(r.For)
	}
	return text
}

var words = map[string]string{">": "above", ">=": "not below", "<": "below", "<=": "not above", "!=": "and not"}

func number64(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
