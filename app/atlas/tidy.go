package atlas

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/palisade-security/palisade/topology"
)

// tidy makes days of hours that are far back, and deletes what is too old. All that was seen must be written.
func (k *Keeper) tidy(now time.Time) error {
	if now.Sub(k.tidied) < tidyEvery || len(k.reigns) == 0 {
		return nil
	}
	all, _, err := stretches(k.files)
	if err != nil {
		return err
	}
	hours := map[time.Time][]stretch{}
	for _, s := range all {
		switch whole := s.from.Truncate(day); {
		case k.Keep > 0 && now.Sub(s.until()) > k.Keep:
			if err := k.remove(s); err != nil {
				return err
			}
			delete(k.days, s.from)
		case s.long == time.Hour && now.Sub(whole) > hoursKept+day:
			hours[whole] = append(hours[whole], s)
		}
	}
	for whole, parts := range hours {
		if err := k.merge(whole, parts); err != nil {
			return err
		}
	}
	if err := k.forget(now); err != nil {
		return err
	}
	k.tidied = now
	return nil
}

// merge makes a day of its hours.
func (k *Keeper) merge(whole time.Time, hours []stretch) error {
	base, err := k.base(whole.Add(day))
	if err != nil {
		return err
	}
	f := topology.NewFold(base)
	for _, s := range hours {
		one, err := k.keptOf(s)
		if err != nil {
			return err
		}
		f.Add(one.Part)
	}
	if err := writePacked(k.files, stretch{whole, day}.name(), &kept{k.next, f.Part()}); err != nil {
		return err
	}
	k.days[whole] = true
	for _, s := range hours {
		if err := k.remove(s); err != nil {
			return err
		}
	}
	return nil
}

func (k *Keeper) remove(s stretch) error {
	delete(k.open, s.from)
	if err := k.files.Remove(s.name()); err != nil {
		return fmt.Errorf("deleting an old map: %w", err)
	}
	return nil
}

// forget deletes what was declared in times of which nothing is kept any more.
func (k *Keeper) forget(now time.Time) error {
	first := slices.Index(k.reigns, under(k.reigns, now.Add(-k.Keep)))
	if k.Keep <= 0 || first == 0 {
		return nil
	}
	k.reigns = slices.Clone(k.reigns[first:])
	if err := writeJSON(k.files, reignsFile, k.reigns); err != nil {
		return err
	}
	files, err := fs.ReadDir(k.files, declaredDir)
	if err != nil {
		return fmt.Errorf("deleting an old map: %w", err)
	}
	for _, f := range files {
		name := strings.TrimSuffix(f.Name(), suffix)
		if !slices.ContainsFunc(k.reigns, func(r reign) bool { return r.Map == name }) {
			if err := k.files.Remove(path.Join(declaredDir, f.Name())); err != nil {
				return fmt.Errorf("deleting an old map: %w", err)
			}
		}
	}
	return nil
}
