//! [`circles`]: the closed ways through a graph of imports.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::imports::Imports;

/// Files, each of which imports the next, and the last the first: the shortest circles first, and of those that have an
/// import in common one alone. There is none when this is empty; when these are mended, others may show.
pub fn circles(imports: &Imports) -> Vec<Vec<usize>> {
    let all = imports.iter().flat_map(|(from, targets)| targets.keys().map(move |to| (*from, *to)));
    let all: BTreeSet<_> = all.filter_map(|(from, to)| way(imports, to, from)).map(rotated).collect();
    let mut all: Vec<_> = all.into_iter().collect();
    all.sort_by_key(Vec::len);
    let mut taken = BTreeSet::new();
    all.retain(|circle| {
        let edges: Vec<_> = circle.iter().copied().zip(circle.iter().copied().cycle().skip(1)).collect();
        let free = edges.iter().all(|edge| !taken.contains(edge));
        if free {
            taken.extend(edges);
        }
        free
    });
    all
}

/// The shortest way from one file to another, both included.
fn way(imports: &Imports, from: usize, to: usize) -> Option<Vec<usize>> {
    let mut came_from = BTreeMap::from([(from, from)]);
    let mut queue = VecDeque::from([from]);
    while let Some(file) = queue.pop_front() {
        if file == to {
            let (mut way, mut at) = (vec![to], to);
            while at != from {
                at = came_from[&at];
                way.push(at);
            }
            way.reverse();
            return Some(way);
        }
        for next in imports.get(&file).into_iter().flat_map(BTreeMap::keys) {
            came_from.entry(*next).or_insert_with(|| {
                queue.push_back(*next);
                file
            });
        }
    }
    None
}

/// The same circle from its smallest file on.
fn rotated(mut circle: Vec<usize>) -> Vec<usize> {
    let smallest = circle.iter().enumerate().min_by_key(|(_, file)| **file).map_or(0, |(index, _)| index);
    circle.rotate_left(smallest);
    circle
}

#[cfg(test)]
mod tests {
    use super::super::imports::Import;
    use super::*;

    fn of(edges: &[(usize, usize)]) -> Vec<Vec<usize>> {
        let mut imports = Imports::new();
        for (from, to) in edges {
            let import = Import { line: 1, path: String::new() };
            imports.entry(*from).or_default().insert(*to, import);
        }
        circles(&imports)
    }

    #[test]
    fn a_way_that_does_not_close_is_no_circle() {
        assert!(of(&[(0, 1), (1, 2), (0, 2), (3, 2)]).is_empty());
    }

    #[test]
    fn each_circle_is_found_once() {
        assert_eq!(of(&[(0, 1), (1, 0), (1, 2), (2, 3), (3, 1)]), [vec![0, 1], vec![1, 2, 3]]);
    }

    #[test]
    fn of_circles_with_a_common_import_the_shortest_is_shown() {
        assert_eq!(of(&[(0, 1), (1, 2), (2, 0), (2, 1)]), [vec![1, 2]]);
    }
}
