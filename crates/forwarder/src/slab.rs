//! A table whose places are used again.

/// Things by place.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// The place that the next thing gets.
    pub(crate) fn next(&self) -> usize {
        self.free.last().copied().unwrap_or(self.places.len())
    }

    pub(crate) fn insert(&mut self, thing: T) {
        match self.free.pop() {
            Some(place) => self.places[place] = Some(thing),
            None => self.places.push(Some(thing)),
        }
    }

    pub(crate) fn get(&mut self, place: usize) -> Option<&mut T> {
        self.places.get_mut(place)?.as_mut()
    }

    pub(crate) fn remove(&mut self, place: usize) -> Option<T> {
        let thing = self.places.get_mut(place)?.take()?;
        self.free.push(place);
        Some(thing)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        self.places.iter().enumerate().filter_map(|(place, thing)| Some((place, thing.as_ref()?)))
    }

    /// Those that are used.
    pub(crate) fn places(&self) -> Vec<usize> {
        self.iter().map(|(place, _)| place).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Slab;

    #[test]
    fn places_are_used_again() {
        let mut slab = Slab::new();
        for n in 0..3 {
            assert_eq!(slab.next(), n);
            slab.insert(n);
        }
        assert_eq!(slab.remove(1), Some(1));
        assert_eq!((slab.remove(1), slab.len(), slab.next()), (None, 2, 1));
        slab.insert(7);
        assert_eq!(slab.get(1), Some(&mut 7));
        assert_eq!(slab.places(), [0, 1, 2]);
    }
}
