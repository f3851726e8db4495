// Light or dark. `public/theme.js` has set it before the first paint; here it is changed.

class Theme {
  dark = $state(document.documentElement.dataset.theme === 'dark')

  flip(): void {
    this.dark = !this.dark
    const name = this.dark ? 'dark' : 'light'
    document.documentElement.dataset.theme = name
    try {
      localStorage.setItem('theme', name)
    } catch {
      // It lasts as long as the page.
    }
  }
}

export const theme = new Theme()

/** A colour of the theme, for what is drawn on a canvas. */
export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim()
}
