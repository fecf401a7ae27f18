package telemetry

// SensorQuery selects a page of the sensors one person owns or is shared with.
type SensorQuery struct {
	UserID  int64    // that person; mandatory: nobody lists what is not theirs to see
	Access  string   // owner, manager or viewer: those the person is just that to; empty: all
	Serials []string // only these; nil: all
	Text    string   // part of serial, name, description, type, manufacturer or a tag; case-insensitive; empty: all
	Tags    []string // exactly these tags, all of them; none: any
	State   State    // empty: all
	Sort    string   // serial_no (default), name, last_seen_at, created_at; a leading "-" reverses
	After   string   // opaque: what the previous page returned as next; empty: from the start
	Limit   int      // at most this many, > 0
}

// ReadingQuery selects a page of one sensor's readings.
type ReadingQuery struct {
	SensorID    int64
	From        Millis // inclusive, by Reading.Time; zero: no bound
	To          Millis // exclusive, by Reading.Time; zero: no bound
	HasAfterSeq bool   // order by Seq from AfterSeq (exclusive) instead of by Time
	AfterSeq    int64
	Ascending   bool   // oldest first
	CursorTime  Millis // continue strictly beyond (CursorTime, CursorSeq) in the asked order; CursorSeq zero: from the start
	CursorSeq   int64
	Limit       int // at most this many, > 0
}

// TagCount is how many of somebody's sensors have a tag.
type TagCount struct {
	Tag     string
	Sensors int
}

// AlertQuery selects a page of incidents, newest first.
type AlertQuery struct {
	Serials []string   // of the sensors the asker may view; empty: of none
	State   AlertState // empty: all
	Beyond  int64      // only those of a lower Order; zero: from the newest
	Limit   int        // at most this many, > 0
}

// TimelineQuery selects a page of what happened to a sensor, newest first.
type TimelineQuery struct {
	SensorID    int64
	From        Millis // inclusive; zero: no bound
	To          Millis // exclusive; zero: no bound
	BeyondAt    Millis // continue strictly beyond (BeyondAt, BeyondOrder); BeyondOrder zero: from the newest
	BeyondOrder int64
	Limit       int // at most this many, > 0
}
