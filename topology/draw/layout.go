package draw

import (
	"cmp"
	"math"
	"slices"

	"github.com/palisade-security/palisade/topology"
)

// The measures of a picture, in pixels.
const (
	boxWidth  = 172.0
	boxHeight = 44.0
	gapAcross = 110.0 // between layers
	gapDown   = 22.0  // between boxes of one layer
	passDown  = 12.0  // beside an edge that passes through a layer
	dense     = 0.4   // of these two, where a layer has more than highest boxes
	highest   = 24
	margin    = 28.0
)

// layout is where everything stands: layers from left to right, each from top to bottom (Sugiyama, Tagawa, Toda 1981).
// The same map has the same layout.
type layout struct {
	m             *topology.Map
	width, height float64
	scale         float64 // of the gaps downwards
	at            []spot  // of the nodes, by index; then of where long edges pass a layer
	layers        [][]int // indices into at, from top to bottom
	ways          [][]int // of each edge of the map, the spots it passes from its left end to its right one
	next, prev    [][]int // between spots of neighbouring layers
}

// spot is a box, or a point that an edge passes.
type spot struct {
	layer int
	y     float64 // of the middle
}

func newLayout(m *topology.Map) *layout {
	l := &layout{m: m, at: make([]spot, len(m.Nodes))}
	ends := l.ends()
	l.level(ends)
	l.thread(ends)
	l.order()
	l.place()
	return l
}

// ends are the indices of the nodes of each edge.
func (l *layout) ends() [][2]int {
	index := make(map[string]int, len(l.m.Nodes))
	for i := range l.m.Nodes {
		index[l.m.Nodes[i].Name] = i
	}
	out := make([][2]int, len(l.m.Edges))
	for i := range l.m.Edges {
		out[i] = [2]int{index[l.m.Edges[i].From], index[l.m.Edges[i].To]}
	}
	return out
}

// level gives each node a layer: right of all that call it, but for edges that close a circle; the gateway at the far
// left, what is outside at the far right, and who is called by nobody just left of those it calls.
func (l *layout) level(ends [][2]int) {
	out := make([][]int, len(l.m.Nodes))
	for _, e := range ends {
		if e[0] != e[1] {
			out[e[0]] = append(out[e[0]], e[1])
		}
	}
	called := make([]bool, len(out))
	order := l.topological(out)
	rank := make([]int, len(out))
	for i, n := range order {
		rank[n] = i
	}
	for _, n := range order {
		if l.m.Nodes[n].Kind != topology.KindEdge {
			l.at[n].layer = max(l.at[n].layer, 1)
		}
		for _, to := range out[n] {
			if rank[to] > rank[n] {
				called[to] = true
				l.at[to].layer = max(l.at[to].layer, l.at[n].layer+1)
			}
		}
	}
	last := 0
	for i := range l.at {
		last = max(last, l.at[i].layer)
	}
	for _, n := range slices.Backward(order) {
		kind := l.m.Nodes[n].Kind
		if kind == topology.KindOutside {
			l.at[n].layer = last
		}
		if called[n] || kind == topology.KindEdge || len(out[n]) == 0 {
			continue
		}
		nearest := last + 1
		for _, to := range out[n] {
			if rank[to] > rank[n] {
				nearest = min(nearest, l.at[to].layer)
			}
		}
		if nearest <= last {
			l.at[n].layer = max(nearest-1, 1)
		}
	}
}

// topological orders the nodes so that only edges that close a circle go back, from the gateway on.
func (l *layout) topological(out [][]int) []int {
	seen := make([]bool, len(out))
	var order []int
	var visit func(int)
	visit = func(n int) {
		seen[n] = true
		for _, to := range slices.Backward(out[n]) {
			if !seen[to] {
				visit(to)
			}
		}
		order = append(order, n)
	}
	in := make([]int, len(out))
	for _, tos := range out {
		for _, to := range tos {
			in[to]++
		}
	}
	for pass := range 3 { // the gateway last, so that it comes first; before it who is called by nobody, and circles before these
		for n := range slices.Backward(out) {
			gateway := l.m.Nodes[n].Kind == topology.KindEdge
			if !seen[n] && (pass == 0 && gateway || pass == 1 && in[n] == 0 || pass == 2) {
				visit(n)
			}
		}
	}
	slices.Reverse(order)
	return order
}

// thread leads each edge through the layers it crosses.
func (l *layout) thread(ends [][2]int) {
	l.ways = make([][]int, len(ends))
	for i, e := range ends {
		from, to := e[0], e[1]
		if l.at[from].layer > l.at[to].layer {
			from, to = to, from
		}
		way := []int{from}
		for layer := l.at[from].layer + 1; layer < l.at[to].layer; layer++ {
			way = append(way, len(l.at))
			l.at = append(l.at, spot{layer: layer})
		}
		l.ways[i] = append(way, to)
	}
	l.next, l.prev = make([][]int, len(l.at)), make([][]int, len(l.at))
	for _, way := range l.ways {
		for i := 1; i < len(way); i++ {
			if a, b := way[i-1], way[i]; l.at[a].layer != l.at[b].layer {
				l.next[a], l.prev[b] = append(l.next[a], b), append(l.prev[b], a)
			}
		}
	}
	last := 0
	for _, s := range l.at {
		last = max(last, s.layer)
	}
	l.layers, l.scale = make([][]int, last+1), 1
	for i, s := range l.at {
		l.layers[s.layer] = append(l.layers[s.layer], i)
		if i < len(l.m.Nodes) && len(l.layers[s.layer]) > highest {
			l.scale = dense
		}
	}
}

// order sorts each layer by the middle of its neighbours, back and forth, and keeps the order with the fewest crossings.
func (l *layout) order() {
	place := make([]float64, len(l.at))
	number := func(layer []int) {
		for i, s := range layer {
			place[s] = float64(i)
		}
	}
	for _, layer := range l.layers {
		number(layer)
	}
	best, fewest := l.copied(), l.crossings(place)
	for sweep := 0; sweep < 24 && fewest > 0; sweep++ {
		near, from := l.prev, 1
		if sweep%2 == 1 {
			near, from = l.next, 0
		}
		for i := range l.layers {
			layer := l.layers[i]
			if from == 0 {
				layer = l.layers[len(l.layers)-1-i]
			}
			middle := make(map[int]float64, len(layer))
			for _, s := range layer {
				middle[s] = mean(near[s], place, place[s])
			}
			slices.SortStableFunc(layer, func(a, b int) int { return cmp.Compare(middle[a], middle[b]) })
			number(layer)
		}
		if n := l.crossings(place); n < fewest {
			best, fewest = l.copied(), n
		}
	}
	l.layers = best
}

func (l *layout) copied() [][]int {
	out := make([][]int, len(l.layers))
	for i := range l.layers {
		out[i] = slices.Clone(l.layers[i])
	}
	return out
}

func mean(of []int, place []float64, none float64) float64 {
	if len(of) == 0 {
		return none
	}
	sum := 0.0
	for _, s := range of {
		sum += place[s]
	}
	return sum / float64(len(of))
}

// crossings counts the pairs of edges that cross between neighbouring layers, by counting inversions.
func (l *layout) crossings(place []float64) int {
	n := 0
	for _, layer := range l.layers {
		var ends []int
		for _, s := range layer {
			to := make([]int, len(l.next[s]))
			for i, t := range l.next[s] {
				to[i] = int(place[t])
			}
			slices.Sort(to)
			ends = append(ends, to...)
		}
		n += inversions(ends)
	}
	return n
}

// inversions counts the pairs that are in the wrong order, by merging.
func inversions(list []int) int {
	if len(list) < 2 {
		return 0
	}
	left, right := slices.Clone(list[:len(list)/2]), slices.Clone(list[len(list)/2:])
	n := inversions(left) + inversions(right)
	i, j := 0, 0
	for k := range list {
		if j == len(right) || i < len(left) && left[i] <= right[j] {
			list[k] = left[i]
			i++
		} else {
			list[k] = right[j]
			j++
			n += len(left) - i
		}
	}
	return n
}

// place gives everything its height: as near as can be to the middle of its neighbours, in the order of its layer and
// with room between.
func (l *layout) place() {
	for _, layer := range l.layers {
		l.settle(layer, func(int) float64 { return 0 })
	}
	y := func(near []int, own float64) float64 {
		sum := 0.0
		for _, s := range near {
			sum += l.at[s].y
		}
		if len(near) == 0 {
			return own
		}
		return sum / float64(len(near))
	}
	for sweep := range 12 {
		for i := range l.layers {
			layer, near := l.layers[i], l.prev
			if sweep%2 == 1 {
				layer, near = l.layers[len(l.layers)-1-i], l.next
			}
			if sweep >= 10 { // at last both sides count
				l.settle(layer, func(s int) float64 { return y(slices.Concat(l.prev[s], l.next[s]), l.at[s].y) })
				continue
			}
			l.settle(layer, func(s int) float64 { return y(near[s], l.at[s].y) })
		}
	}
	top := math.Inf(1)
	for i := range l.at {
		top = min(top, l.at[i].y-l.half(i))
	}
	for i := range l.at {
		l.at[i].y += margin - top
		l.height = max(l.height, l.at[i].y+l.half(i)+margin)
	}
	l.width = 2*margin + float64(len(l.layers))*boxWidth + float64(len(l.layers)-1)*gapAcross
}

// half is half of what a spot needs.
func (l *layout) half(s int) float64 {
	if s < len(l.m.Nodes) {
		return (boxHeight + gapDown*l.scale) / 2
	}
	return passDown * l.scale / 2
}

// settle finds the heights that are nearest to the wanted ones, as least squares see it, and keep order and distance:
// neighbours that would overlap become one block at their common mean (pool adjacent violators).
func (l *layout) settle(layer []int, want func(int) float64) {
	type block struct {
		first, n int
		sum      float64 // of the wanted heights, less the offsets within the layer
	}
	offset := make([]float64, len(layer))
	var blocks []block
	for i, s := range layer {
		if i > 0 {
			offset[i] = offset[i-1] + l.half(layer[i-1]) + l.half(s)
		}
		b := block{i, 1, want(s) - offset[i]}
		for len(blocks) > 0 {
			p := blocks[len(blocks)-1]
			if p.sum/float64(p.n) < b.sum/float64(b.n) {
				break
			}
			b = block{p.first, p.n + b.n, p.sum + b.sum}
			blocks = blocks[:len(blocks)-1]
		}
		blocks = append(blocks, b)
	}
	for _, b := range blocks {
		for i := b.first; i < b.first+b.n; i++ {
			l.at[layer[i]].y = b.sum/float64(b.n) + offset[i]
		}
	}
}

// left is the x of the left side of a layer.
func (l *layout) left(layer int) float64 { return margin + float64(layer)*(boxWidth+gapAcross) }
